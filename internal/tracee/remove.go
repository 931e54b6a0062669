//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Remove undoes Prepare: the helper ends, reaped by the kernel like any thread,
// and the arena is unmapped. No thread may be stopped, the seed must be reaped.
//
// Whatever failed before, the arena is unmapped only when no thread needs it
// any more: otherwise it stays, which harms nobody, and Remove says so. A
// process that has ended, or runs another program, needs no undoing.
func (o *Origin) Remove() (err error) {
	defer func() {
		if err != nil && o.Fate(isGone(err) || errors.Is(err, ErrGone)) != nil {
			err = nil // what was to be undone is gone
		}
	}()
	if o.Replaced() {
		return nil // the arena and the helper went with the old program
	}
	var errs []error
	if o.helper != 0 {
		if err := errors.Join(o.dropClone(), o.childless()); err != nil {
			// Left alone, the helper collects its clones when its tracer has
			// gone, and needs the arena for that.
			o.helper, o.arena = 0, 0
			return err
		}
		errs = append(errs, o.endHelper(), fault.HelperEnded.Hit())
	}
	if o.arena != 0 {
		errs = append(errs, o.unmapArena(), fault.ArenaUnmapped.Hit())
	}
	return errors.Join(errs...)
}

// dropClone ends a clone that did not become the seed: it must be no zombie
// among the children of production. A clone may take long, and the helper is
// out of reach meanwhile.
func (o *Origin) dropClone() error {
	if o.forking {
		pid, err := waitSyscall(o.helper, time.Now().Add(puppetTimeout))
		if pid != 0 {
			o.unborn = pid
		}
		if err != nil {
			return fmt.Errorf("wait for the clone of pid %d: %w", o.PID, err)
		}
		o.forking = false
	}
	if o.unborn == 0 {
		return nil
	}
	clone := &Puppet{PID: o.unborn, TID: o.unborn}
	o.unborn = 0
	return errors.Join(clone.Kill(), clone.WaitGone(), o.Reap(clone.PID))
}

// childless makes sure that the helper has no clones any more, and collects those
// that have ended: they would be left to another thread of production.
func (o *Origin) childless() error {
	for o.cloned {
		pid, err := o.Helper(Sys(unix.SYS_WAIT4, ^uint64(0), 0, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, 0))
		switch {
		case isGone(err): // ECHILD, or the helper is gone
			return nil
		case err != nil:
			return fmt.Errorf("collect clones of pid %d: %w", o.PID, err)
		case pid == 0:
			return fmt.Errorf("clones of pid %d have not ended", o.PID)
		}
	}
	return nil
}

// endHelper makes the helper exit and waits for that.
func (o *Origin) endHelper() error {
	helper := o.helper
	o.helper = 0
	deadline := time.Now().Add(prepareTimeout)
	aim := func() error {
		var regs sys.Regs // its own: an error may have come before base was read
		if err := sys.GetRegs(helper, &regs); err != nil {
			return err
		}
		regs = callRegs(regs, o.gadgets.Syscall, o.arena+slotExit, Sys(unix.SYS_EXIT, 0))
		return sys.SetRegs(helper, &regs)
	}
	err := aim()
	if isGone(err) { // or it is not stopped, after an error
		if err = sys.Interrupt(helper); err == nil {
			err = waitHalt(helper, deadline)
		}
		if err == nil {
			err = aim()
		}
	}
	for err == nil {
		if err = sys.Cont(helper, 0); err != nil {
			break
		}
		var stop Stop
		if stop, err = wait(helper, deadline); err == nil && stop.Kind == StopExited {
			return nil
		}
	}
	if errors.Is(err, ErrGone) || isGone(err) {
		return nil
	}
	o.astray = true
	return fmt.Errorf("end helper %d: %w", helper, err)
}

func (o *Origin) unmapArena() error {
	arena := o.arena
	o.arena = 0
	if o.astray {
		if err := o.vacate(arena); err != nil {
			return fmt.Errorf("leave arena in pid %d: %w", o.PID, err)
		}
		vmas, err := procfs.Maps(o.PID)
		if err != nil {
			return err
		}
		if !ours(vmas, arena) {
			return nil // it was never mapped
		}
	}
	calls := []Call{Sys(unix.SYS_MUNMAP, uint64(arena), ArenaSize)}
	_, err := o.onLead(calls, o.stackFrame)
	if err == nil {
		err = calls[0].Err()
	}
	if err != nil && !errors.Is(err, ErrGone) {
		return fmt.Errorf("unmap arena of pid %d: %w", o.PID, err)
	}
	return nil
}

// vacate waits until no thread needs the frames in the arena or on the stack:
// the thread of an injection that failed, a helper, be it another agent's.
func (o *Origin) vacate(arena Addr) error {
	for deadline := time.Now().Add(prepareTimeout); ; sys.Nanosleep(int64(time.Millisecond)) {
		tid, err := o.onTheWay(arena)
		if err != nil {
			return err
		}
		if tid == 0 {
			o.astray = false
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("thread %d is still on its way back from a call of pilot's", tid)
		}
	}
}

// onTheWay finds a thread whose stack pointer is in a frame of ours.
func (o *Origin) onTheWay(arena Addr) (found int, err error) {
	tids, err := procfs.Tasks(o.PID)
	if err != nil {
		return 0, err
	}
	for _, tid := range tids {
		in, err := o.stands(tid, arena)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil || in {
			return tid, err
		}
	}
	return 0, nil
}

func (o *Origin) stands(tid int, arena Addr) (in bool, err error) {
	err = o.hold(tid)
	if errors.Is(err, unix.EPERM) && sys.Interrupt(tid) == nil {
		// Ours already: a helper whose birth was missed. Detached, it ends itself.
		err = waitHalt(tid, time.Now().Add(prepareTimeout))
	}
	if err != nil {
		return false, errors.Join(err, o.letGo(tid))
	}
	var regs sys.Regs
	err = sys.GetRegs(tid, &regs)
	sp := Addr(regs.Rsp)
	in = sp >= arena && sp < arena+ArenaSize || tid == o.PID && o.onStackFrame(sp)
	return in, errors.Join(err, o.letGo(tid))
}

// onStackFrame reports whether the lead thread's stack has come to the end
// where its frame goes, or is that frame.
func (o *Origin) onStackFrame(sp Addr) bool {
	return sp > o.stackFrame-frameSize && sp < o.stackFrame+2*frameSize
}
