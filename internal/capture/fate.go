//go:build linux

package capture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// explain replaces the many ways to notice the end of a process by their cause.
func (t *taking) explain(err error) error {
	doubts := []bool{false}
	if errors.Is(err, tracee.ErrGone) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EAGAIN) {
		doubts = append(doubts, true) // something has vanished: look longer
	}
	for _, suspect := range doubts {
		for _, p := range t.snap.Processes {
			switch fate := p.Origin.Fate(suspect); {
			case errors.Is(fate, tracee.ErrGone):
				return ended(p.Member)
			case fate != nil:
				return caught(p.Member, fate)
			}
		}
	}
	return err
}

func ended(m model.Member) error {
	return fmt.Errorf("member %s (pid %d) ended while the snapshot was taken: %w", m.Name, m.PID, tracee.ErrGone)
}

// vanished explains why a process could not be opened. When it has no memory
// just now, it has ended, or its lead thread has, for another one that is in
// execve(2).
func vanished(m model.Member, err error) error {
	if errors.Is(err, io.EOF) { // the memory that was being read has no user any more
		return caught(m, tracee.ErrLeaving)
	}
	if !errors.Is(err, tracee.ErrGone) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	// Alone and a zombie it has ended. Alone and alive it has become another program since.
	tids, err := procfs.Tasks(m.PID)
	if err != nil {
		return ended(m)
	}
	if s, err := procfs.ReadStat(m.PID); err != nil || len(tids) < 2 && s.State == 'Z' {
		return ended(m)
	}
	return caught(m, tracee.ErrLeaving)
}

func caught(m model.Member, fate error) error {
	return fmt.Errorf("member %s (pid %d) was caught by the snapshot when it %w; try again", m.Name, m.PID, fate)
}
