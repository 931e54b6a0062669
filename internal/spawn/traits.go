//go:build linux

package spawn

import (
	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// setTraits gives the phantom what its process as a whole has.
func (ph *phantom) setTraits() error {
	traits := ph.process.Traits
	var calls []tracee.Call
	if ph.process.Dumpable <= 1 { // 2 can only be inherited, and is what the kernel has set
		// A process that changed its user namespace is not dumpable, which
		// would hide its own /proc from it.
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, uint64(ph.process.Dumpable)))
	}
	if traits.Subreaper {
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1))
	}
	if traits.RealtimeLimit > 0 {
		at, _ := ph.lead.Data()
		if err := ph.lead.Write(at, make([]byte, 16)); err != nil { // struct rlimit64
			return err
		}
		calls = append(calls, tracee.Sys(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_RTPRIO, uint64(at), 0))
	}
	return ph.lead.Do(calls...)
}

// schedule has every thread served as its origin's, as far as a phantom may.
// The phantom's threads are all served as the first is now.
func (ph *phantom) schedule() error {
	if err := ph.each(func(p *tracee.Puppet, _ tracee.Thread) error { return p.Calm() }); err != nil {
		return err
	}
	now, err := sys.ScheduleOf(ph.lead.TID)
	if err != nil {
		return err
	}
	return ph.each(func(p *tracee.Puppet, t tracee.Thread) error {
		want, known := ph.process.Schedules[t.TID]
		if now.Nice > 0 { // for want of a control group
			want.Nice = max(want.Nice, now.Nice)
		}
		if known && want != now {
			return want.Apply(p.TID)
		}
		return nil
	})
}

// degraded reports what traits of a member's processes its phantoms lack.
func (w *World) degraded(p *capture.Process) {
	if p.Degraded {
		w.Gaps = append(w.Gaps, plan.RealtimeGap(p.Member.Name))
	}
	if limit := p.Traits.RealtimeLimit; limit > 0 {
		w.Gaps = append(w.Gaps, plan.RealtimeLimitGap(p.Member.Name, limit))
	}
}
