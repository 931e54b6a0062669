//go:build linux

package tracee

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// puppetOptions bind a puppet's life to the tracer's.
const puppetOptions = sys.OptSysGood | sys.OptClone | sys.OptFork | sys.OptExitKill

// puppetTimeout bounds each wait for a puppet. Production is not waiting.
const puppetTimeout = 20 * time.Second

// The workshop is memory of a puppet behind the arena: code for batches, their
// records, and data. It is gone before the puppet runs by itself.
const (
	workCode    = 0
	workRecords = 4 << 10
	workData    = 64 << 10
	workSize    = 1 << 20

	// maxBatch is how many records fit.
	maxBatch = (workData - workRecords) / batchRecord
)

// A Puppet is a thread of a process that pilot made, steered by injected calls.
type Puppet struct {
	PID     int // thread group, in the agent's pid namespace
	TID     int
	mem     *os.File
	arena   Addr
	gadgets Gadgets
	base    sys.Regs
	equip   bool // the workshop is there
	gone    bool // it has ended and was collected: its number may be another's
	options int  // of ptrace
	hurried bool // it has real-time priority
}

func newPuppet(pid int, o *Origin) (*Puppet, error) {
	p := &Puppet{PID: pid, TID: pid, arena: o.arena, gadgets: o.gadgets, options: puppetOptions}
	if o.filtered {
		// It makes calls that its program never does. The filters act again
		// when it is let go.
		p.options |= sys.OptSuspendSeccomp
	}
	return p, p.adopt()
}

// adopt waits for the puppet's first stop and binds it to the tracer.
func (p *Puppet) adopt() error {
	if err := waitHalt(p.TID, time.Now().Add(puppetTimeout)); err != nil {
		return err
	}
	if err := sys.SetOptions(p.TID, p.options); err != nil {
		return err
	}
	if err := sys.GetRegs(p.TID, &p.base); err != nil {
		return err
	}
	if p.mem != nil {
		return nil
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.PID), os.O_RDWR, 0)
	p.mem = mem
	return err
}

// Equip maps the workshop. Clones of the puppet have it too.
func (p *Puppet) Equip() error {
	at := p.work()
	if _, err := p.Call(Sys(unix.SYS_MMAP, uint64(at), workSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)); err != nil {
		return fmt.Errorf("equip puppet %d: %w", p.PID, err)
	}
	// Written while it is writable: a kernel can be told to let nobody write to
	// other pages by /proc/PID/mem (proc_mem.force_override, since 6.12).
	if err := writeMem(p.mem, at+workCode, stub); err != nil {
		return err
	}
	if _, err := p.Call(Sys(unix.SYS_MPROTECT, uint64(at), workRecords, unix.PROT_READ|unix.PROT_EXEC)); err != nil {
		return fmt.Errorf("equip puppet %d: %w", p.PID, err)
	}
	p.equip = true
	return nil
}

func (p *Puppet) work() Addr { return p.arena + ArenaSize }

// Data returns the puppet's scratch memory and its size.
func (p *Puppet) Data() (Addr, int) { return p.work() + workData, workSize - workData }

// Workshop returns from where to where the memory lies by which the puppet makes
// calls: without it, it can only be killed.
func (p *Puppet) Workshop() (from, to Addr) { return p.arena, p.work() + workSize }

// Write puts buf into the puppet's memory.
func (p *Puppet) Write(addr Addr, buf []byte) error { return writeMem(p.mem, addr, buf) }

// Read fills buf from the puppet's memory.
func (p *Puppet) Read(addr Addr, buf []byte) error { return readMem(p.mem, addr, buf) }

// Call makes one system call without the workshop.
func (p *Puppet) Call(c Call) (int64, error) {
	regs := callRegs(p.base, p.gadgets.Syscall, p.arena+slotSeed, c)
	if err := sys.SetRegs(p.TID, &regs); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(puppetTimeout)
	for range 2 {
		if err := sys.ContSyscall(p.TID); err != nil {
			return 0, err
		}
		if _, err := waitSyscall(p.TID, deadline); err != nil {
			return 0, err
		}
	}
	if err := sys.GetRegs(p.TID, &regs); err != nil {
		return 0, err
	}
	c.Ret = int64(regs.Rax)
	return c.Ret, c.Err()
}

// Batch makes calls in order and fills in their results. It does not stop at a
// call that fails. It returns the tids of tasks made by them, not yet adopted.
func (p *Puppet) Batch(calls []Call) (made []int, err error) {
	for len(calls) > 0 {
		n := min(len(calls), maxBatch)
		tids, err := p.run(calls[:n])
		made = append(made, tids...)
		if err != nil {
			return made, err
		}
		calls = calls[n:]
	}
	return made, nil
}

// Do is Batch for calls that all must succeed.
func (p *Puppet) Do(calls ...Call) error {
	if _, err := p.Batch(calls); err != nil {
		return err
	}
	for i, c := range calls {
		if err := c.Err(); err != nil {
			return fmt.Errorf("call %d of %d (number %d, %#x): %w", i+1, len(calls), c.Nr, c.Args, err)
		}
	}
	return nil
}

func (p *Puppet) run(calls []Call) (made []int, err error) {
	records := make([]byte, len(calls)*batchRecord)
	for i, c := range calls {
		r := records[i*batchRecord:]
		binary.LittleEndian.PutUint64(r, c.Nr)
		for j, a := range c.Args {
			binary.LittleEndian.PutUint64(r[8+8*j:], a)
		}
	}
	at := p.work() + workRecords
	if err := writeMem(p.mem, at, records); err != nil {
		return nil, err
	}
	regs := p.base
	regs.Rip, regs.Rsp = uint64(p.work()+workCode), uint64(p.arena+slotSeed)
	regs.Rbx, regs.R12 = uint64(at), uint64(len(calls))
	regs.Orig_rax = ^uint64(0)
	regs.Eflags &^= 0x100
	if err := sys.SetRegs(p.TID, &regs); err != nil {
		return nil, err
	}
	if made, err = p.toBreakpoint(); err != nil {
		return made, err
	}
	if err := readMem(p.mem, at, records); err != nil {
		return made, err
	}
	for i := range calls {
		calls[i].Ret = int64(binary.LittleEndian.Uint64(records[i*batchRecord+56:]))
	}
	return made, nil
}

// toBreakpoint lets the puppet run its batch to the end.
func (p *Puppet) toBreakpoint() (made []int, err error) {
	deadline := time.Now().Add(puppetTimeout)
	for {
		if err := sys.Cont(p.TID, 0); err != nil {
			return made, err
		}
		stop, err := wait(p.TID, deadline)
		if err != nil {
			return made, err
		}
		switch {
		case stop.Kind == StopSignal && stop.Signal == unix.SIGTRAP:
			return made, nil
		case stop.Kind == StopEvent:
			msg, err := sys.EventMsg(p.TID)
			if err != nil {
				return made, err
			}
			made = append(made, int(msg))
		case stop.Kind == StopInterrupt, stop.Kind == StopGroup:
		case stop.Kind == StopExited:
			return made, fmt.Errorf("puppet %d ended (%v, code %d): %w", p.TID, stop.Signal, stop.Code, ErrGone)
		default:
			return made, fmt.Errorf("puppet %d: %v in a batch", p.TID, stop.Signal)
		}
	}
}

// Fork makes a child process of the puppet, with flags for clone3, and with
// pid as its number in its own pid namespace, or any when pid is 0.
func (p *Puppet) Fork(flags uint64, pid int) (*Puppet, error) {
	tid, err := p.clone(flags, pid)
	if err != nil {
		return nil, err
	}
	child := *p
	child.TID = tid
	if flags&unix.CLONE_THREAD == 0 {
		child.PID, child.mem = tid, nil
	}
	if err := child.adopt(); err != nil {
		return nil, fmt.Errorf("adopt clone %d of %d: %w", tid, p.PID, err)
	}
	return &child, nil
}

func (p *Puppet) clone(flags uint64, pid int) (int, error) {
	data, _ := p.Data()
	args := make([]byte, 88+8) // struct clone_args, CLONE_ARGS_SIZE_VER2, then set_tid
	le := binary.LittleEndian
	le.PutUint64(args, flags)
	if pid != 0 {
		le.PutUint64(args[64:], uint64(data)+88)
		le.PutUint64(args[72:], 1)
		le.PutUint32(args[88:], uint32(pid))
	}
	if err := p.Write(data, args); err != nil {
		return 0, err
	}
	calls := []Call{Sys(unix.SYS_CLONE3, uint64(data), 88)}
	made, err := p.Batch(calls)
	if err != nil {
		return 0, err
	}
	if err := calls[0].Err(); err != nil {
		return 0, fmt.Errorf("clone3 in %d for tid %d: %w", p.PID, pid, err)
	}
	if len(made) != 1 {
		return 0, fmt.Errorf("clone3 in %d: no traced child", p.PID)
	}
	return made[0], nil
}

// Become gives the thread the state of t. It runs from there once it is let go.
func (p *Puppet) Become(t Thread) error {
	if err := sys.SetRegSet(p.TID, sys.NTX86XState, t.XState); err != nil {
		return err
	}
	regs := Restarted(t.Regs)
	if err := sys.SetRegs(p.TID, &regs); err != nil {
		return err
	}
	return sys.SetSigmask(p.TID, t.Sigmask)
}

// puppetPriority is below that of whoever production waits for.
const puppetPriority = 8

// Hurry gives the puppet real-time priority where that is allowed, and all that it
// forks from now on. Each call of a puppet takes two switches between processes,
// and on a busy host an ordinary one waits for each.
func (p *Puppet) Hurry() { p.hurried = sys.RealtimeKin(p.TID, puppetPriority) == nil }

// Calm takes it from the puppet again.
func (p *Puppet) Calm() error {
	if !p.hurried || p.gone {
		return nil
	}
	p.hurried = false
	if err := sys.Realtime(p.TID, 0); err != nil && !isGone(err) {
		return err
	}
	return nil
}

// Block masks every signal, so that none disturbs the building.
func (p *Puppet) Block() error { return sys.SetSigmask(p.TID, ^uint64(0)) }

// Strip unmaps the arena and the workshop. Only Become and Release may follow.
func (p *Puppet) Strip() error {
	_, err := p.Call(Sys(unix.SYS_MUNMAP, uint64(p.arena), ArenaSize+workSize))
	return err
}

// Release lets the thread run by itself.
func (p *Puppet) Release() error { return sys.Detach(p.TID, 0) }

// Kill ends the puppet's process. See WaitGone.
func (p *Puppet) Kill() error {
	p.closeMem()
	if p.gone {
		return nil
	}
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !isGone(err) {
		return err
	}
	return nil
}

func (p *Puppet) closeMem() {
	if p.mem != nil {
		_ = p.mem.Close()
		p.mem = nil
	}
}

// KillBy is Kill for one that may have been collected by another: pidfd names it,
// whoever has its number now.
func (p *Puppet) KillBy(pidfd sys.FD) error {
	p.closeMem()
	if err := unix.PidfdSendSignal(int(pidfd), unix.SIGKILL, nil, 0); err != nil && !isGone(err) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// Heed reports whether the puppet has ended, though nobody of ours has killed it,
// and collects it then. It must not run by itself.
func (p *Puppet) Heed() bool {
	if p.gone {
		return true
	}
	got, ws, err := sys.PeekWait(p.TID)
	if isGone(err) || err == nil && got != 0 && !ws.Stopped() {
		_, _, _ = sys.TryWait(p.TID)
		p.gone = true
	}
	return p.gone
}

// WaitGone waits for the end of a thread whose process was killed.
func (p *Puppet) WaitGone() error {
	for !p.gone {
		stop, err := wait(p.TID, time.Now().Add(puppetTimeout))
		if errors.Is(err, ErrGone) || err == nil && stop.Kind == StopExited {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// WaitAllGone is WaitGone for several threads, in whatever order they end: the
// last thread of number 1 of a pid namespace waits until all others are collected
// (zap_pid_ns_processes, kernel/pid_namespace.c).
func WaitAllGone(puppets []*Puppet) error {
	left := slices.Clone(puppets)
	for deadline := time.Now().Add(puppetTimeout); ; sys.Nanosleep(int64(pollInterval)) {
		var errs []error
		left = slices.DeleteFunc(left, func(p *Puppet) bool {
			if p.gone {
				return true
			}
			got, ws, err := sys.WaitStop(p.TID)
			if err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("wait for tid %d: %w", p.TID, err))
			}
			return err != nil || got != 0 && !ws.Stopped()
		})
		if len(errs) > 0 || len(left) == 0 {
			return errors.Join(errs...)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for the end of %d threads, tid %d first: %w", len(left), left[0].TID, ErrBudget)
		}
	}
}

// ReapChild lets the puppet collect its child pid, which has been killed or
// has ended. pid is in the agent's pid namespace.
func (p *Puppet) ReapChild(pid int) error {
	if p.gone {
		return nil // its children have another parent
	}
	number, err := Number(pid, p.PID)
	if err == nil {
		_, err = p.Call(Sys(unix.SYS_WAIT4, uint64(number), 0, unix.WALL, 0))
	}
	if err != nil && !isGone(err) && !errors.Is(err, ErrGone) {
		return fmt.Errorf("reap %d: %w", pid, err)
	}
	return nil
}
