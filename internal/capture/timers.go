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

// timing tells when, on the monotonic clock, parts of a process were read.
type timing struct {
	timers time.Duration
	// Signals that were pending were read between these.
	signals [2]time.Duration
}

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
	interval, left, err := p.askTimer(deadline, time.Microsecond, call)
	if err != nil {
		return fmt.Errorf("getitimer: %w", err)
	}
	p.Itimers[which] = Itimer{interval, left}
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
		interval, left, err := p.askTimer(deadline, time.Nanosecond, tracee.Sys(unix.SYS_TIMER_GETTIME, uint64(t.ID), uint64(at)))
		if err != nil {
			return fmt.Errorf("timer_gettime %d: %w", t.ID, err)
		}
		p.Timers = append(p.Timers, Timer{t, interval, left})
	}
	p.when.timers, _ = sys.Clocks()
	return nil
}

// askTimer makes a call that fills in a struct itimerval or itimerspec, whose
// second parts are in units.
func (p *Process) askTimer(deadline time.Time, unit time.Duration, call tracee.Call) (interval, left time.Duration, err error) {
	if _, err := p.Origin.HelperUntil(deadline, call); err != nil {
		return 0, 0, err
	}
	var buf [32]byte
	if err := p.Origin.Read(p.Origin.Data(), buf[:]); err != nil {
		return 0, 0, err
	}
	field := func(i int) time.Duration { return time.Duration(binary.LittleEndian.Uint64(buf[i:])) }
	return field(0)*time.Second + field(8)*unit, field(16)*time.Second + field(24)*unit, nil
}

// ageTimers turns what was left of the timers when they were read into what was
// left when the monotonic clock showed cut.
func (p *Process) ageTimers(cut time.Duration) {
	alarm := &p.Itimers[unix.ITIMER_REAL] // the others count processor time
	alarm.Left = p.when.left(alarm.Left, alarm.Interval, cut)
	for i := range p.Timers {
		if t := &p.Timers[i]; !t.CountsProcessor() {
			t.Left = p.when.left(t.Left, t.Interval, cut)
		}
	}
}

// CountsProcessor reports whether the timer counts processor time. Clocks of
// other threads and processes have negative numbers, clock_getcpuclockid(3).
func (t Timer) CountsProcessor() bool {
	return t.ClockID < 0 || t.ClockID == unix.CLOCK_PROCESS_CPUTIME_ID || t.ClockID == unix.CLOCK_THREAD_CPUTIME_ID
}

// left returns what was left at cut of a timer, which had so much left when it
// was read. 0 means that it is not armed.
//
// Time goes on in the pause. A timer that expired before its process's signals
// were read has left its signal among them, one that expired later has not, and
// must do so in the world. In doubt one that fires once is made to fire twice
// rather than never, and a periodic one to leave out a time.
func (w timing) left(left, interval, cut time.Duration) time.Duration {
	read := w.signals[0]
	if interval > 0 {
		read = w.signals[1]
	}
	left = aged(left, interval, read-w.timers)
	if left == 0 {
		return 0
	}
	return max(1, left-(cut-read))
}

// aged returns what is left after a while. 0 means that the timer is not armed.
func aged(left, interval, ago time.Duration) time.Duration {
	switch {
	case left == 0:
		return 0
	case left > ago:
		return left - ago
	case interval == 0:
		return 0 // fired since
	}
	return interval - (ago-left)%interval
}
