//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pilotexec/pilot/internal/procfs"
)

// Number returns the number that process pid has for process of. Both are given
// by their numbers in the agent's pid namespace, of which theirs may be children.
func Number(pid, of int) (int, error) {
	theirs, err := numbers(of)
	if err != nil {
		return 0, err
	}
	all, err := numbers(pid)
	if err != nil {
		return 0, err
	}
	if len(all) < len(theirs) || len(theirs) == 0 {
		return 0, fmt.Errorf("process %d has no number for process %d", pid, of)
	}
	return all[len(theirs)-1], nil
}

// numbers are those of a process, the agent's first. One that has ended keeps
// them until it is reaped.
func numbers(pid int) ([]int, error) {
	s, err := procfs.ReadStatus(pid)
	if errors.Is(err, fs.ErrNotExist) || isGone(err) {
		return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return s.NSpid, err
}
