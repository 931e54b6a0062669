//go:build linux

package agent

import (
	"errors"
	"os"

	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// readTraits finds what of the process as a whole a world does not keep.
func (f *facts) readTraits(status procfs.Status) error {
	t := &f.Traits
	stat, err := procfs.ReadStat(f.Member.PID)
	if err != nil {
		return err
	}
	t.Session, t.Group, t.Terminal = stat.Session, stat.Pgrp, stat.TTY != 0
	t.Locked = status.Locked
	var limit unix.Rlimit
	// It takes the right to change limits where a group id is not ours. What
	// cannot be asked for here is lowered all the same.
	if err := unix.Prlimit(f.Member.PID, unix.RLIMIT_RTPRIO, nil, &limit); err == nil {
		t.RealtimeLimit = limit.Max
	} else if !errors.Is(err, unix.EPERM) {
		return os.NewSyscallError("prlimit", err)
	}
	for _, tid := range f.TIDs {
		s, err := sys.ScheduleOf(tid)
		if errors.Is(err, unix.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return err
		}
		_, degraded := plan.Degrade(plan.Service{Policy: s.Policy, Nice: s.Nice, Priority: s.Priority, IO: s.IO})
		t.Realtime = t.Realtime || degraded
		const deadline = 6 // SCHED_DEADLINE
		if tid == f.Member.PID && s.Policy == deadline && !s.ResetOnFork {
			t.Deadline = true
		}
	}
	return nil
}
