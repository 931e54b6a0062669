//go:build linux

// Package capture takes a snapshot of running processes: the only step of a
// run that touches production.
//
// Everything that can be done early is done while production runs. Then all
// threads of all members are stopped, what can change is read, the processes
// are cloned, and production is let go. A deadline bounds that pause, and a
// kernel timer kills the agent should it hang inside it: the kernel then lets
// production go.
package capture

import (
	"time"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
)

// A Snapshot is a consistent cut of the cluster, from which worlds are spawned.
type Snapshot struct {
	Processes []*Process
	Objects   []*kobj.Description
	Image     *image.Image
	Pause     model.Pause
	// Monotonic, Boottime and Wall are the clocks at the pause.
	Monotonic, Boottime time.Duration
	Wall                time.Time

	attended map[*attendance]bool
}

// A Process is the captured state of one member.
type Process struct {
	Member  model.Member
	Index   int // in the run's list of members
	Origin  *tracee.Origin
	Seed    *tracee.Puppet
	Threads []tracee.Thread // the leader first
	Names   map[int]string  // thread names by tid
	Cwd     string
	Exe     string // its program, as /proc/PID/exe shows it
	// Status is what /proc tells of each thread, by tid: its credentials.
	Status map[int]procfs.Status
	// Securebits and Dumpable are those of the leader, as prctl(2) returns them.
	Securebits, Dumpable int
	// Schedules tell by tid how threads are served, already degraded to what
	// phantoms may have. Degraded is set when that made a difference.
	Schedules map[int]sys.Schedule
	Degraded  bool
	Traits    Traits
	Maps      []procfs.VMA
	// Regions are bytes of memory that a fork does not carry over, or carries
	// over shared with production.
	Regions  []Region
	Timers   []Timer
	Itimers  [3]Itimer
	room     map[uint64][]byte // for Regions, by address
	signals  span              // when those that are pending were read
	Children []int
}

// Number returns the number that a thread has for itself. tid is that in the
// agent's pid namespace, of which the member's may be a child.
func (p *Process) Number(tid int) int {
	if numbers := p.Status[tid].NSpid; len(numbers) > 0 {
		return numbers[len(numbers)-1]
	}
	return tid
}

// A Region is the content of one mapping at the pause.
type Region struct {
	VMA  procfs.VMA
	Data []byte
}

// A Timer is a POSIX timer, timer_create(2), with the time it had left.
type Timer struct {
	procfs.Timer
	Itimer
}

// An Itimer is an interval timer, setitimer(2).
type Itimer struct {
	Interval, Left time.Duration
	asked          span // when it was read
}

// Armed reports whether the timer will fire.
func (t Itimer) Armed() bool { return t.Left > 0 }
