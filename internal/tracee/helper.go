//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

func (o *Origin) makeHelper() error {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	// The new thread returns from clone with its stack at the exit frame.
	calls := []Call{Sys(unix.SYS_CLONE, flags, uint64(o.arena+slotExit))}
	tid, err := o.onLead(calls, o.arena+slotThread)
	if err != nil {
		return fmt.Errorf("make helper in pid %d: %w", o.PID, err)
	}
	if err := calls[0].Err(); err != nil {
		return fmt.Errorf("make helper in pid %d: clone: %w", o.PID, err)
	}
	if tid == 0 {
		return fmt.Errorf("make helper in pid %d: clone made no traced thread", o.PID)
	}
	o.helper = tid // from here on Remove must end it
	if err := waitHalt(tid, time.Now().Add(prepareTimeout)); err != nil {
		return fmt.Errorf("make helper in pid %d: %w", o.PID, err)
	}
	if err := sys.SetOptions(tid, helperOptions); err != nil {
		return err
	}
	if err := sys.GetRegs(tid, &o.base); err != nil {
		return err
	}
	// Not with the lead's real-time priority, which worlds would inherit.
	if err := sys.Ordinary(tid); err != nil {
		return err
	}
	// An own, empty descriptor table: the helper and every clone of it hold no
	// reference to production's files.
	if _, err := o.Helper(Sys(unix.SYS_CLOSE_RANGE, 0, uint64(^uint32(0)), 2 /* CLOSE_RANGE_UNSHARE */)); err != nil {
		return fmt.Errorf("empty the helper's descriptors: %w", err)
	}
	return nil
}

// Helper makes one system call in the helper thread and returns its result.
func (o *Origin) Helper(c Call) (int64, error) {
	return o.HelperUntil(time.Now().Add(prepareTimeout), c)
}

// HelperUntil is Helper with a deadline. When that passes the call goes on.
func (o *Origin) HelperUntil(deadline time.Time, c Call) (int64, error) {
	regs := callRegs(o.base, o.gadgets.Syscall, o.arena+slotExit, c)
	if err := sys.SetRegs(o.helper, &regs); err != nil {
		return 0, err
	}
	if _, err := o.step(o.helper, deadline); err != nil {
		return 0, err
	}
	if err := sys.GetRegs(o.helper, &regs); err != nil {
		return 0, err
	}
	c.Ret = int64(regs.Rax)
	return c.Ret, c.Err()
}

// Hurry gives the helper real-time priority where that is allowed, for the time
// in which production waits for it. The seed does not inherit it.
func (o *Origin) Hurry(prio int) { _ = sys.Urgent(o.helper, prio) }

// Calm takes it away again.
func (o *Origin) Calm() error {
	if err := sys.Ordinary(o.helper); err != nil && !isGone(err) {
		return err
	}
	return nil
}

// Data returns the part of the arena where injected calls may leave results.
func (o *Origin) Data() Addr { return o.arena + slotData }

// endTimeout bounds the wait for the helper's end. Nothing waits for it but
// the agent, and it may be long on a busy machine.
const endTimeout = 10 * time.Second

// endHelper has the helper exit and waits for it, whatever it is at: a call
// that was given up may still be under way.
func (o *Origin) endHelper() error {
	if o.helper == 0 {
		return nil
	}
	deadline := time.Now().Add(endTimeout)
	var regs sys.Regs
	err := sys.GetRegs(o.helper, &regs)
	if isGone(err) { // or it is not stopped
		if err = sys.Interrupt(o.helper); err == nil {
			_, err = wait(o.helper, deadline) // any stop will do
		}
		if err == nil {
			err = sys.GetRegs(o.helper, &regs)
		}
	}
	if err == nil {
		regs = callRegs(regs, o.gadgets.Syscall, o.arena+slotExit, Sys(unix.SYS_EXIT, 0))
		err = sys.SetRegs(o.helper, &regs)
	}
	if err == nil {
		err = sys.Cont(o.helper, 0)
	}
	for err == nil {
		var stop Stop
		if stop, err = wait(o.helper, deadline); err == nil && stop.Kind == StopExited {
			break
		}
		if err == nil {
			err = sys.Cont(o.helper, 0)
		}
	}
	if err != nil && !isGone(err) && !errors.Is(err, ErrGone) {
		return fmt.Errorf("end helper %d: %w", o.helper, err)
	}
	o.helper = 0
	return nil
}
