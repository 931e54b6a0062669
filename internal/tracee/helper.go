//go:build linux

package tracee

import (
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Priority is the real-time priority of what production waits for.
const Priority = 10

func (o *Origin) makeHelper() error {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	// The new thread returns from clone with its stack at the exit frame.
	calls := []Call{Sys(unix.SYS_CLONE, flags, uint64(o.arena+slotExit))}
	tid, err := o.onLead(calls, o.arena+slotThread)
	if tid != 0 {
		o.wards.add(tid) // also when something failed after its birth
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
	if err := waitHalt(tid, time.Now().Add(prepareTimeout)); err != nil {
		return fmt.Errorf("make helper in pid %d: %w", o.PID, err)
	}
	o.helper = tid
	if err := sys.SetOptions(tid, helperOptions); err != nil {
		return err
	}
	if err := sys.GetRegs(tid, &o.base); err != nil {
		return err
	}
	// The clone holds locks of production's memory: it must not wait for a
	// processor behind whatever else runs. Without the right to it, it does.
	if o.sched, err = unix.SchedGetAttr(tid, 0); err != nil {
		return os.NewSyscallError("sched_getattr", err)
	}
	_ = sys.Realtime(tid, Priority)
	// An own, empty descriptor table: the helper and every clone of it hold no
	// reference to production's files.
	if _, err := o.Helper(Sys(unix.SYS_CLOSE_RANGE, 0, uint64(^uint32(0)), 2 /* CLOSE_RANGE_UNSHARE */)); err != nil {
		return fmt.Errorf("empty the helper's descriptors: %w", err)
	}
	return nil
}

// Helper makes one system call in the helper thread and returns its result.
func (o *Origin) Helper(c Call) (int64, error) {
	regs := callRegs(o.base, o.gadgets.Syscall, o.arena+slotExit, c)
	if err := sys.SetRegs(o.helper, &regs); err != nil {
		return 0, err
	}
	if _, err := o.step(o.helper); err != nil {
		return 0, err
	}
	if err := sys.GetRegs(o.helper, &regs); err != nil {
		return 0, err
	}
	c.Ret = int64(regs.Rax)
	return c.Ret, c.Err()
}

// Data returns the part of the arena where injected calls may leave results.
func (o *Origin) Data() Addr { return o.arena + slotData }
