//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// ours reports whether an agent that died has left its arena at the address.
func ours(vmas []procfs.VMA, at Addr) bool {
	for _, v := range vmas {
		if v.Start == uint64(at) {
			return v.End-v.Start == ArenaSize && v.Read && v.Write && !v.Exec && !v.Shared && v.Inode == 0
		}
	}
	return false
}

// Left reports whether an agent that died has left its arena in process pid.
func Left(pid int) bool {
	vmas, err := procfs.Maps(pid)
	return err == nil && slices.ContainsFunc(places(), func(at Addr) bool { return ours(vmas, at) })
}

// places lists where an arena may be.
func places() (out []Addr) {
	for i := range arenaTries {
		out = append(out, ArenaHint+Addr(i*arenaStep))
	}
	return out
}

// Sweep removes the arena that an agent which died has left in process pid, and
// reports whether there was one. It must not be called while another agent
// holds the process.
func Sweep(pid int) (found bool, err error) {
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return false, err
	}
	for _, at := range places() {
		if !ours(vmas, at) {
			continue
		}
		found = true
		o, err := Open(pid)
		if err != nil {
			return true, err
		}
		o.arena, o.astray = at, true // for all that is known
		if err := errors.Join(o.Remove(), o.Close()); err != nil {
			return true, err
		}
	}
	return found, nil
}

func free(vmas []procfs.VMA, at Addr, size uint64) bool {
	for _, v := range vmas {
		if v.Start < uint64(at)+size && uint64(at) < v.End {
			return false
		}
	}
	return true
}

// Prepare maps the arena and makes the helper: an extra thread that never runs
// but to do what pilot asks of it. Only the lead thread is stopped, for some
// hundred microseconds. Undo it with Remove.
func (o *Origin) Prepare() error {
	if err := o.checkFilters(); err != nil {
		return fmt.Errorf("prepare pid %d: %w", o.PID, err)
	}
	if err := o.mapArena(); err != nil {
		return err
	}
	if err := o.writeFallbacks(); err != nil {
		return err
	}
	return o.makeHelper()
}

func (o *Origin) arenaCall() Call {
	return Sys(unix.SYS_MMAP, uint64(o.arena), ArenaSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)
}

func (o *Origin) mapArena() error {
	if o.inherited {
		// The agent that made it has died: its helper, or a thread that it had
		// in hand, may not have come back yet.
		return o.vacate(o.arena)
	}
	calls := []Call{o.arenaCall()}
	if _, err := o.onLead(calls, o.stackFrame); err != nil {
		return fmt.Errorf("map arena in pid %d: %w", o.PID, err)
	}
	if got := calls[0]; got.Err() != nil || Addr(got.Ret) != o.arena {
		o.arena = 0
		return fmt.Errorf("map arena in pid %d: %w", o.PID, got.Err())
	}
	return fault.ArenaMapped.Hit()
}

// reapAny collects a child of the helper, whichever there is.
var reapAny = Sys(unix.SYS_WAIT4, ^uint64(0), 0, unix.WALL|unix.WNOTHREAD, 0)

// writeFallbacks fills the frames that orphans of the tracer end by.
func (o *Origin) writeFallbacks() error {
	exit := Sys(unix.SYS_EXIT, 0)
	end := Sys(unix.SYS_EXIT_GROUP, 0)
	base := sys.Regs{Cs: 0x33, Ss: 0x2b, Eflags: 0x202}
	type fallback struct {
		slot, next Addr
		call       Call
	}
	all := []fallback{{slotExit, slotExit, exit}, {slotSeed, slotSeed, end}}
	for i := range Addr(reaps) {
		next := slotReap + (i+1)*reapFrame
		if i == reaps-1 {
			next = slotExit
		}
		all = append(all, fallback{slotReap + i*reapFrame, next, reapAny})
	}
	for _, f := range all {
		at := o.arena + f.slot
		regs := callRegs(base, o.gadgets.Syscall, o.arena+f.next, f.call)
		if err := writeMem(o.mem, at, sigframe(at, o.gadgets.Restorer, regs, nil, ^uint64(0))); err != nil {
			return err
		}
	}
	return fault.FallbacksWritten.Hit()
}
