//go:build linux

package spawn

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// setTimers arms interval and POSIX timers with the time they had left, counted
// from the moment when the world opens. They may expire before, if that moment
// is missed: their signals wait.
func (ph *phantom) setTimers(opening time.Duration) error {
	at, _ := ph.lead.Data()
	for which, it := range ph.process.Itimers {
		if !it.Armed() {
			continue
		}
		left := it.Left
		if which == unix.ITIMER_REAL { // the others count processor time
			left = untilOpening(left, opening)
		}
		if err := ph.lead.Write(at, timerSpec(it.Interval, max(left, time.Microsecond), time.Microsecond)); err != nil {
			return err
		}
		if err := ph.lead.Do(tracee.Sys(unix.SYS_SETITIMER, uint64(which), uint64(at), 0)); err != nil {
			return fmt.Errorf("setitimer: %w", err)
		}
	}
	chooses, err := ph.chooseIDs(1)
	if err != nil {
		return err
	}
	for _, t := range ph.process.Timers {
		left := t.Left
		if left > 0 && !t.CountsProcessor() {
			left = untilOpening(left, opening)
		}
		if err := ph.makeTimer(t, timerSpec(t.Interval, left, time.Nanosecond), chooses); err != nil {
			return fmt.Errorf("timer %d: %w", t.ID, err)
		}
	}
	if chooses {
		_, err = ph.chooseIDs(0)
	}
	return err
}

// untilOpening adds to left the time before the opening.
func untilOpening(left, opening time.Duration) time.Duration {
	now, _ := sys.Clocks()
	return max(1, left+opening-now)
}

// timerSpec lays out a struct itimerval or itimerspec.
func timerSpec(interval, left, unit time.Duration) []byte {
	var b []byte
	for _, d := range []time.Duration{interval, left} {
		b = binary.LittleEndian.AppendUint64(b, uint64(d/time.Second))
		b = binary.LittleEndian.AppendUint64(b, uint64(d%time.Second/unit))
	}
	return b
}

// chooseIDs switches on or off that timer_create takes the id that it finds
// where it is to store it, and reports whether the kernel can do that: from 6.15.
func (ph *phantom) chooseIDs(on uint64) (bool, error) {
	if len(ph.process.Timers) == 0 {
		return false, nil
	}
	const restoreIDs = 77 // PR_TIMER_CREATE_RESTORE_IDS, include/uapi/linux/prctl.h
	calls := []tracee.Call{tracee.Sys(unix.SYS_PRCTL, restoreIDs, on)}
	_, err := ph.lead.Batch(calls)
	return calls[0].Err() == nil, err
}

// makeTimer makes a POSIX timer that has the id it had, and sets it.
func (ph *phantom) makeTimer(t capture.Timer, spec []byte, chooses bool) error {
	const sizeofSigevent, specAt = 64, 72
	at, _ := ph.lead.Data()
	buf := make([]byte, specAt)
	le := binary.LittleEndian
	le.PutUint64(buf, t.Value)
	le.PutUint32(buf[8:], uint32(t.Signal))
	le.PutUint32(buf[12:], uint32(t.NotifyMode()))
	if t.NotifyTID != 0 {
		le.PutUint32(buf[16:], uint32(ph.process.Number(t.NotifyTID)))
	}
	le.PutUint32(buf[sizeofSigevent:], uint32(t.ID))
	if err := ph.lead.Write(at, append(buf, spec...)); err != nil {
		return err
	}
	create := tracee.Sys(unix.SYS_TIMER_CREATE, uint64(t.ClockID), uint64(at), uint64(at)+sizeofSigevent)
	if err := ph.createTimer(create, t.ID, chooses); err != nil {
		return err
	}
	return ph.lead.Do(tracee.Sys(unix.SYS_TIMER_SETTIME, uint64(t.ID), 0, uint64(at)+specAt, 0))
}

// createTimer makes create give the timer number id. Where it cannot be chosen
// the kernel gives out numbers in order, so those in between are made and deleted.
func (ph *phantom) createTimer(create tracee.Call, id int, chooses bool) error {
	const most = 100 // in a batch
	for {
		if err := ph.lead.Do(create); err != nil {
			return err
		}
		buf := make([]byte, 4)
		if err := ph.lead.Read(tracee.Addr(create.Args[2]), buf); err != nil {
			return err
		}
		got := int(int32(binary.LittleEndian.Uint32(buf)))
		switch {
		case got == id:
			return nil
		case got > id || chooses:
			return fmt.Errorf("the kernel gave number %d", got)
		}
		calls := []tracee.Call{tracee.Sys(unix.SYS_TIMER_DELETE, uint64(got))}
		for n := got + 1; n < id && len(calls) < most; n++ {
			calls = append(calls, create, tracee.Sys(unix.SYS_TIMER_DELETE, uint64(n)))
		}
		if err := ph.lead.Do(calls...); err != nil {
			return err
		}
	}
}
