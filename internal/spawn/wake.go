//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/sys"
)

// What it takes to wake a world, generously: threads can be made only after the
// world's clock is set, and should exist when it shows the time of the pause.
const (
	wakeWorld   = 3 * time.Millisecond
	wakePhantom = 3 * time.Millisecond
	wakeThread  = 500 * time.Microsecond
	wakeTimer   = 100 * time.Microsecond
)

// Opening appoints a moment, on the host's monotonic clock, at which worlds can
// be woken if the first is begun with now. On a busy machine everything takes
// longer: by how much, the making of their phantoms has shown.
func Opening(worlds ...*World) time.Duration {
	at, _ := sys.Clocks()
	for _, w := range worlds {
		at += wakeWorld + w.built/2
		for _, ph := range w.phantoms {
			at += wakePhantom + time.Duration(len(ph.process.Threads))*wakeThread +
				time.Duration(len(ph.process.Timers))*wakeTimer
		}
	}
	return at
}

// Wake completes the phantoms of the world, which are to run from the moment
// opening: then their clocks show the time of the pause. A world cannot set its
// clock again, nor have threads before, so the moment is appointed in advance.
//
// If it is missed the clocks jump by the delay. They never go back.
func (w *World) Wake(opening time.Duration) error {
	err := w.wake(opening)
	if err != nil {
		return fmt.Errorf("world %s: %w", w.Name, err)
	}
	return nil
}

func (w *World) wake(opening time.Duration) error {
	w.opening = opening
	monotonic, boottime := sys.Clocks()
	// The two run alike, but for times when the machine sleeps.
	opensAt := opening + boottime - monotonic
	if err := w.init.SetClock(w.snap.Monotonic-opening, w.snap.Boottime-opensAt); err != nil {
		return err
	}
	if err := fault.ClockSet.Hit(); err != nil {
		return err
	}
	if err := kobj.Arm(w.snap.Objects, w.fds, w.snap.Monotonic, opening); err != nil {
		return err
	}
	w.closeFDs()
	if err := w.hurried(w.enlivenAll); err != nil {
		return err
	}
	if err := w.urgently(w.auditBuilt); err != nil {
		return err
	}
	w.awake = true
	return fault.WorldAudited.Hit()
}

func (w *World) enlivenAll() error {
	for _, ph := range w.phantoms {
		if err := w.enliven(ph); err != nil {
			return fmt.Errorf("member %s: %w", ph.process.Member.Name, err)
		}
	}
	return nil
}

// closeFDs closes the agent's own descriptors of the world's objects.
func (w *World) closeFDs() {
	for _, fd := range w.fds {
		_ = fd.Close()
	}
	w.fds = nil
}

// Release lets every phantom run, all within a moment, when the world opens.
func (w *World) Release() error {
	if !w.awake {
		return errors.New("its phantoms are not complete")
	}
	return w.urgently(func() error {
		now, _ := sys.Clocks()
		for ; now < w.opening; now, _ = sys.Clocks() {
			sys.Nanosleep(int64(w.opening - now)) // a signal may end it early
		}
		w.ClockAhead = now - w.opening
		w.Released = time.Now()
		w.WallAhead = w.Released.Round(0).Sub(w.snap.Wall.Round(0)) // wall clocks, not monotonic
		var errs []error
		for _, ph := range w.phantoms {
			errs = append(errs, ph.release(), fault.PhantomReleased.Hit())
		}
		return errors.Join(errs...)
	})
}
