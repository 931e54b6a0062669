//go:build linux

package capture

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// readCredentials reads those of the first thread as they are in the pause: a
// program that gives up rights does it there. Of the others it reads those that
// were born since the survey.
func (p *Process) readCredentials() error {
	for _, t := range p.Threads {
		if _, known := p.Status[t.TID]; known && t.TID != p.Member.PID {
			continue
		}
		s, err := procfs.ReadTaskStatus(p.Member.PID, t.TID)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("thread %d: %w", t.TID, tracee.ErrGone)
		}
		if err != nil {
			return err
		}
		p.Status[t.TID] = s
	}
	return nil
}

// readSeed asks the seed what only a process itself can tell, and what it has
// from its origin.
func (p *Process) readSeed() error {
	for _, ask := range []struct {
		option uint64
		into   *int
	}{{unix.PR_GET_SECUREBITS, &p.Securebits}, {unix.PR_GET_DUMPABLE, &p.Dumpable}} {
		n, err := p.Seed.Call(tracee.Sys(unix.SYS_PRCTL, ask.option))
		if err != nil {
			return fmt.Errorf("prctl %d: %w", ask.option, err)
		}
		*ask.into = int(n)
	}
	return nil
}
