//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// lastCap is more than any capability's number. The kernel refuses to drop
// those that it does not have with EINVAL.
const lastCap = 63

// allowed is the set of capabilities that something in a world may have.
func allowed(caps uint64) uint64 {
	for _, c := range forbidden {
		caps &^= 1 << c
	}
	return caps
}

// restrict gives a thread the rights of its origin's, less the forbidden ones.
// It came into the world's user namespace with all of them: user_namespaces(7).
func (ph *phantom) restrict(p *tracee.Puppet, t tracee.Thread) error {
	traits := ph.process.Traits
	at, _ := p.Data()
	whole := capset(allowed(^uint64(0)), allowed(^uint64(0)), allowed(traits.Inheritable))
	final := capset(allowed(traits.Effective), allowed(traits.Permitted), allowed(traits.Inheritable))
	if err := p.Write(at, append(whole, final...)); err != nil {
		return err
	}
	var drops []tracee.Call
	for c := range lastCap + 1 {
		if allowed(traits.Bounding)&(1<<c) == 0 {
			drops = append(drops, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uint64(c)))
		}
	}
	if _, err := p.Batch(drops); err != nil {
		return err
	}
	for _, c := range drops {
		if err := c.Err(); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c.Args[1], err)
		}
	}
	base := uint64(at)
	var calls []tracee.Call
	if ambient := allowed(traits.Ambient); ambient != 0 || traits.SecureBits != 0 {
		// An ambient capability must be permitted and inheritable, and the
		// right to set the bits may not be among those that stay.
		calls = append(calls, tracee.Sys(unix.SYS_CAPSET, base, base+8))
		for c := range lastCap + 1 {
			if ambient&(1<<c) != 0 {
				calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uint64(c)))
			}
		}
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(traits.SecureBits)))
	}
	second := base + uint64(len(whole))
	calls = append(calls, tracee.Sys(unix.SYS_CAPSET, second, second+8))
	if t.Probe.DeathSignal != 0 { // last: a change of rights would clear it
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(t.Probe.DeathSignal)))
	}
	return p.Do(calls...)
}

// capset returns the header and data of capset(2).
func capset(effective, permitted, inheritable uint64) []byte {
	le := binary.LittleEndian
	buf := make([]byte, 8+24)
	le.PutUint32(buf, unix.LINUX_CAPABILITY_VERSION_3)
	for i := range 2 {
		for j, set := range []uint64{effective, permitted, inheritable} {
			le.PutUint32(buf[8+12*i+4*j:], uint32(set>>(32*i)))
		}
	}
	return buf
}

// setTraits gives the phantom what its process as a whole has.
func (ph *phantom) setTraits() error {
	traits := ph.process.Traits
	var calls []tracee.Call
	if traits.Dumpable == 0 || traits.Dumpable == 1 {
		// A process that changed its user namespace is not dumpable, which
		// would hide its own /proc from it.
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, uint64(traits.Dumpable)))
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
	now, err := sys.ScheduleOf(ph.lead.TID)
	if err != nil {
		return err
	}
	return ph.each(func(p *tracee.Puppet, t tracee.Thread) error {
		if want, known := ph.process.Schedules[t.TID]; known && want != now {
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
