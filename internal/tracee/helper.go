//go:build linux

package tracee

import (
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// helperCall makes the helper. It returns from clone with its stack at the exit
// frame.
func (o *Origin) helperCall() Call {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	return Sys(unix.SYS_CLONE, flags, uint64(o.arena+slotExit))
}

// emptyTable gives the helper an own, empty descriptor table.
var emptyTable = Sys(unix.SYS_CLOSE_RANGE, 0, uint64(^uint32(0)), 2 /* CLOSE_RANGE_UNSHARE */)

func (o *Origin) makeHelper() error {
	calls := []Call{o.helperCall()}
	tid, err := o.onLead(calls, o.arena+slotThread)
	o.helper = tid // even if something failed after its birth
	if tid != 0 {
		o.wards.attend(tid) // for as long as there are worlds
	}
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
	if err := fault.HelperBorn.Hit(); err != nil {
		return err
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
	// So the helper and every clone of it hold no reference to production's files.
	if _, err := o.Helper(emptyTable); err != nil {
		return fmt.Errorf("empty the helper's descriptors: %w", err)
	}
	return fault.HelperEmptied.Hit()
}

// Helper makes one system call in the helper thread and returns its result.
func (o *Origin) Helper(c Call) (int64, error) {
	return o.HelperUntil(time.Now().Add(prepareTimeout), c)
}

// HelperUntil is Helper with a deadline. When that passes the call goes on.
func (o *Origin) HelperUntil(deadline time.Time, c Call) (int64, error) {
	if err := o.permit(o.helper, c); err != nil {
		return 0, err
	}
	// Its clones may be there already: then it has to reap them at the end.
	regs := callRegs(o.base, o.gadgets.Syscall, o.arena+slotReap, c)
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
func (o *Origin) Hurry(prio int) { _ = sys.Realtime(o.helper, prio) }

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
