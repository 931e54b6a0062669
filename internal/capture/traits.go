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
	Subreaper bool
	// RealtimeLimit is the hard RLIMIT_RTPRIO.
	RealtimeLimit uint64
}

// surveyTraits asks for what the helper has in common with the lead thread,
// whose clone it is.
func (p *Process) surveyTraits() (err error) {
	at := p.Origin.Data()
	if _, err := p.Origin.Helper(tracee.Sys(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uint64(at))); err != nil {
		return fmt.Errorf("ask whether it is a subreaper: %w", err)
	}
	var buf [4]byte
	if err := p.Origin.Read(at, buf[:]); err != nil {
		return err
	}
	p.Traits.Subreaper = binary.LittleEndian.Uint32(buf[:]) != 0
	p.Traits.RealtimeLimit, err = procfs.HardLimit(p.Member.PID, procfs.LimitRealtime)
	return err
}

// surveyThread reads a thread's name and how it is served. A thread that has
// ended has neither.
func (p *Process) surveyThread(tid int) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", p.Member.PID, tid))
	if err != nil || len(name) == 0 {
		return
	}
	p.Names[tid] = string(name[:len(name)-1])
	if s, err := procfs.ReadTaskStatus(p.Member.PID, tid); err == nil {
		p.Status[tid] = s
	}
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
