//go:build linux

package spawn

import (
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// tracerPriority is above that of puppets, which it steers.
const tracerPriority = 9

// hurried runs build with real-time priority for the tracer and the world's
// puppets, where that is allowed. The wall clocks of phantoms jump by the time that
// all this takes, and programs that measure their timeouts by them (Kafka's
// controllers: 2 s) hold an election then; production copies pages meanwhile.
// Without the priority a cluster of three Java machines took 1.6 s on a host
// that it kept busy, and with it 0.4 s.
//
// Afterwards nothing of the world has it, whether build succeeds or not.
func (w *World) hurried(build func() error) (err error) {
	if w.confine != nil {
		w.confine.Hurry()
		defer func() { err = errors.Join(err, w.confine.Calm()) }()
	}
	_ = w.tracer.Do(func() error {
		_ = sys.Realtime(0, tracerPriority)
		return w.eachPuppet(func(p *tracee.Puppet) error { p.Hurry(); return nil })
	})
	defer func() {
		err = errors.Join(err, w.tracer.Do(func() error {
			return errors.Join(w.eachPuppet((*tracee.Puppet).Calm), sys.Realtime(0, 0))
		}))
	}()
	return build()
}

// urgently runs fn on the tracer, with real-time priority where that is allowed.
func (w *World) urgently(fn func() error) error {
	return w.tracer.Do(func() error { return sys.Urgently(tracerPriority, fn) })
}

// admit bounds the first process that a seed has forked. A group that has no share
// of real-time priority would not take one that has it.
func (w *World) admit(p *tracee.Puppet) error {
	if err := errors.Join(p.Calm(), w.add(p.PID)); err != nil {
		return err
	}
	p.Hurry()
	return nil
}

// eachPuppet calls fn for all puppets that there are.
func (w *World) eachPuppet(fn func(*tracee.Puppet) error) error {
	var errs []error
	for _, ph := range w.phantoms {
		for _, p := range append([]*tracee.Puppet{ph.entry, ph.stem, ph.reaper, ph.lead}, ph.threads...) {
			if p != nil {
				errs = append(errs, fn(p))
			}
		}
	}
	return errors.Join(errs...)
}

// auditPriority makes sure that a thread, if it still runs, does not go before
// production's.
func auditPriority(tid int) error {
	first, err := sys.IsRealtime(tid)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if first {
		return fmt.Errorf("thread %d has real-time priority", tid)
	}
	return err
}
