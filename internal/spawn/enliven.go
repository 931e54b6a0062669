//go:build linux

package spawn

import (
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// enliven gives a furnished phantom the world's clock, its threads, and the
// state that they had in the pause. After it nothing of ours is left in the
// phantom's memory.
func (w *World) enliven(ph *phantom) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/time_for_children", w.init.PID()))
	if err != nil {
		return err
	}
	defer f.Close()
	return w.tracer.Do(func() error {
		if err := ph.enterClock(sys.FD(f.Fd())); err != nil {
			return err
		}
		if err := fault.ClockEntered.Hit(); err != nil {
			return err
		}
		if err := w.filterCalls(ph); err != nil {
			return err
		}
		if err := fault.CallsFiltered.Hit(); err != nil {
			return err
		}
		if err := noCore(ph.lead); err != nil {
			return err
		}
		if err := ph.makeThreads(); err != nil {
			return err
		}
		if err := fault.ThreadsMade.Hit(); err != nil {
			return err
		}
		if err := w.deliverLate(ph); err != nil {
			return err
		}
		if err := ph.post.close(); err != nil {
			return err
		}
		if err := ph.queueShared(); err != nil {
			return err
		}
		if err := ph.each(ph.equipThread); err != nil {
			return err
		}
		if err := fault.ThreadEquipped.Hit(); err != nil {
			return err
		}
		// Not before: timers may send to one thread, count the world's time, and
		// their next signals come behind those that are pending.
		if err := ph.setTimers(w.opening); err != nil {
			return err
		}
		if err := ph.setTraits(); err != nil {
			return err
		}
		if err := ph.lead.Strip(); err != nil {
			return err
		}
		if err := fault.WorkshopStripped.Hit(); err != nil {
			return err
		}
		if err := ph.schedule(); err != nil {
			return err
		}
		return ph.each(func(p *tracee.Puppet, t tracee.Thread) error {
			if err := p.Become(t); err != nil {
				return err
			}
			return fault.ThreadBecame.Hit()
		})
	})
}

// enterClock moves the phantom into the world's time namespace, which only a
// process with one thread can do.
func (ph *phantom) enterClock(ns sys.FD) error {
	err := ph.post.lend(ns, func(number uint64) error {
		return ph.lead.Do(tracee.Sys(unix.SYS_SETNS, number, unix.CLONE_NEWTIME))
	})
	if err != nil {
		return fmt.Errorf("enter time namespace: %w", err)
	}
	return nil
}

// queueShared sends the signals that were pending for the process.
func (ph *phantom) queueShared() error {
	at, _ := ph.lead.Data()
	for _, s := range ph.process.Origin.Shared {
		if err := ph.lead.Write(at, s[:]); err != nil {
			return err
		}
		if err := ph.lead.Do(tracee.Sys(unix.SYS_RT_SIGQUEUEINFO, uint64(ph.number()),
			uint64(s.Signo()), uint64(at))); err != nil {
			return fmt.Errorf("queue signal %d: %w", s.Signo(), err)
		}
	}
	return nil
}
