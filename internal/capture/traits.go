//go:build linux

package capture

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// Traits belong to a process as a whole, and a fork does not inherit them, or
// loses them on its way into a world.
type Traits struct {
	Subreaper  bool
	Dumpable   int // 0 or 1; 2 cannot be set, and the kernel gives it by itself
	SecureBits int
	// Sets of capabilities of the lead thread.
	Inheritable, Permitted, Effective, Bounding, Ambient uint64
	// RealtimeLimit is the hard RLIMIT_RTPRIO.
	RealtimeLimit uint64
}

// surveyTraits asks for what the helper has in common with the lead thread,
// whose clone it is.
func (p *Process) surveyTraits(status procfs.Status) (err error) {
	t := &p.Traits
	t.Inheritable, t.Permitted, t.Effective = status.CapInh, status.CapPrm, status.CapEff
	t.Bounding, t.Ambient = status.CapBnd, status.CapAmb
	at := uint64(p.Origin.Data())
	var results [4]int64
	for i, call := range []tracee.Call{
		tracee.Sys(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE),
		tracee.Sys(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS),
		tracee.Sys(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, at),
		tracee.Sys(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_RTPRIO, 0, at+8),
	} {
		if results[i], err = p.Origin.Helper(call); err != nil {
			return fmt.Errorf("ask for traits (call %d, %#x): %w", call.Nr, call.Args[0], err)
		}
	}
	t.Dumpable, t.SecureBits = int(results[0]), int(results[1])
	var buf [24]byte // an int, and a struct rlimit64
	if err := p.Origin.Read(tracee.Addr(at), buf[:]); err != nil {
		return err
	}
	t.Subreaper = binary.LittleEndian.Uint32(buf[:]) != 0
	t.RealtimeLimit = binary.LittleEndian.Uint64(buf[16:])
	return nil
}

// surveyThread reads a thread's name and how it is served. A thread that has
// ended has neither.
func (p *Process) surveyThread(tid int) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", p.Member.PID, tid))
	if err != nil || len(name) == 0 {
		return
	}
	p.Names[tid] = string(name[:len(name)-1])
	s, err := sys.ScheduleOf(tid)
	if err != nil {
		return
	}
	service, degraded := plan.Degrade(plan.Service{Policy: s.Policy, Nice: s.Nice, Priority: s.Priority, IO: s.IO})
	s.Policy, s.Nice, s.Priority, s.IO = service.Policy, service.Nice, service.Priority, service.IO
	p.Schedules[tid] = s
	p.Degraded = p.Degraded || degraded
}

// surveyNewcomers makes up for threads that were born between the survey and
// the pause. Production runs again.
func (p *Process) surveyNewcomers() {
	for _, t := range p.Threads {
		if _, known := p.Schedules[t.TID]; !known {
			p.surveyThread(t.TID)
		}
	}
}
