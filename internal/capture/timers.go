//go:build linux

package capture

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A span is a time on the monotonic clock: something was done in it.
type span struct{ from, to time.Duration }

// surveyTimers reads the interval timers that count processor time, which
// profilers set once. It is done before the pause: each call costs as much as
// to stop a few threads.
func (p *Process) surveyTimers() error {
	deadline := time.Now().Add(surveyTimeout)
	for _, which := range []int{unix.ITIMER_VIRTUAL, unix.ITIMER_PROF} {
		if err := p.readItimer(deadline, which); err != nil {
			return err
		}
	}
	return nil
}

// surveyTimeout bounds the calls for timers that are made before the pause.
const surveyTimeout = 500 * time.Millisecond

// readItimer reads an interval timer. The helper asks, since it belongs to the
// process and not to a thread.
func (p *Process) readItimer(deadline time.Time, which int) error {
	call := tracee.Sys(unix.SYS_GETITIMER, uint64(which), uint64(p.Origin.Data()))
	t, err := p.askTimer(deadline, time.Microsecond, call)
	if err != nil {
		return fmt.Errorf("getitimer: %w", err)
	}
	p.Itimers[which] = t
	return nil
}

// readTimers reads the timers that count time. It is done in the pause: a
// program may set them anew at any time.
func (p *Process) readTimers(deadline time.Time) error {
	p.Timers = nil
	at := p.Origin.Data()
	if err := p.readItimer(deadline, unix.ITIMER_REAL); err != nil {
		return err
	}
	timers, err := procfs.ReadTimers(p.Member.PID)
	if err != nil {
		return err
	}
	for _, t := range timers {
		asked, err := p.askTimer(deadline, time.Nanosecond, tracee.Sys(unix.SYS_TIMER_GETTIME, uint64(t.ID), uint64(at)))
		if err != nil {
			return fmt.Errorf("timer_gettime %d: %w", t.ID, err)
		}
		p.Timers = append(p.Timers, Timer{t, asked})
	}
	return nil
}

// askTimer makes a call that fills in a struct itimerval or itimerspec, whose
// second parts are in units.
func (p *Process) askTimer(deadline time.Time, unit time.Duration, call tracee.Call) (t Itimer, err error) {
	t.asked.from, _ = sys.Clocks()
	if _, err := p.Origin.HelperUntil(deadline, call); err != nil {
		return t, err
	}
	t.asked.to, _ = sys.Clocks()
	var buf [32]byte
	if err := p.Origin.Read(p.Origin.Data(), buf[:]); err != nil {
		return t, err
	}
	field := func(i int) time.Duration { return time.Duration(binary.LittleEndian.Uint64(buf[i:])) }
	t.Interval, t.Left = field(0)*time.Second+field(8)*unit, field(16)*time.Second+field(24)*unit
	return t, nil
}

// ageTimers turns what was left of the timers when they were read into what was
// left when the monotonic clock showed cut.
func (p *Process) ageTimers(cut time.Duration) {
	p.Itimers[unix.ITIMER_REAL].age(p.signals, cut) // the others count processor time
	for i := range p.Timers {
		if t := &p.Timers[i]; !t.CountsProcessor() {
			t.age(p.signals, cut)
		}
	}
}

// CountsProcessor reports whether the timer counts processor time. Clocks of
// other threads and processes have negative numbers, clock_getcpuclockid(3).
func (t Timer) CountsProcessor() bool {
	return t.ClockID < 0 || t.ClockID == unix.CLOCK_PROCESS_CPUTIME_ID || t.ClockID == unix.CLOCK_THREAD_CPUTIME_ID
}

// age sets Left to what was left at cut; 0 means that the timer is not armed.
// The process's pending signals were read in the time signals.
//
// Time goes on in the pause. A timer that expired before the signals were read
// has left its signal among them, one that expired later has not, and must do so
// in the world. In doubt one that fires once is made to fire twice rather than
// never, and a periodic one to leave out a time. None fires early.
func (t *Itimer) age(signals span, cut time.Duration) {
	if t.Left == 0 {
		return
	}
	// The latest moment at which it may expire, and the earliest.
	expires := t.asked.to + t.Left
	early := t.asked.from + t.Left
	switch {
	case t.Interval == 0 && expires <= signals.from:
		t.Left = 0 // its signal is there
		return
	case t.Interval > 0 && early <= signals.to:
		// So is the last one's that came before; which is next after that?
		expires += ((signals.to-early)/t.Interval + 1) * t.Interval
	}
	t.Left = max(1, expires-cut)
}
