//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// The arena is the only memory that pilot has in an origin. Its address spells
// PILO, so that a restarted agent can recognise a leftover.
const (
	ArenaHint  Addr = 0x50494c4f0000
	arenaStep       = 16 << 20
	arenaTries      = 8
	ArenaSize       = 1 << 20

	// Slots of the arena. The first three are the fallbacks: frames that lead
	// a thread which lost its tracer to its end.
	slotExit   = 0 * frameSize // the helper: exit
	slotReap   = 1 * frameSize // the helper: wait4 for the seed, then exit
	slotSeed   = 2 * frameSize // the seed: exit_group
	slotThread = 3 * frameSize // the frame of a production thread under injection
	slotData   = 4 * frameSize // results of injected calls, 48 KiB
)

// helperOptions are set on the helper. Never EXITKILL: it would kill production.
const helperOptions = sys.OptSysGood | sys.OptClone | sys.OptFork | sys.OptVfork

// prepareTimeout bounds each wait for a single thread before the pause, while
// the rest of the process runs.
const prepareTimeout = 500 * time.Millisecond

// A Thread is the captured state of one stopped production thread.
type Thread struct {
	TID     int
	Regs    sys.Regs
	XState  []byte
	Sigmask uint64
	Rseq    sys.Rseq
	Robust  uint64 // head of the robust futex list
	Pending []sys.SigInfo
	Probe   ThreadProbe
}

// A ThreadProbe is what only the thread itself can tell about itself.
type ThreadProbe struct {
	AltStack [24]byte // stack_t
	ClearTID uint64   // address cleared and woken at the thread's end
	fsBase   uint64   // the thread's TLS: tells a reused tid
	nr       uint64   // the call that it was in
	rip      uint64
}

// An Origin is a production process under pilot's hand.
type Origin struct {
	PID     int
	mem     *os.File
	gadgets Gadgets
	arena   Addr
	// inherited is set when the arena is that of an agent which died.
	inherited bool
	helper    int // tid, 0 when there is none
	base      sys.Regs
	xstate    int // bytes of the extended state, the same for every thread
	probes    map[int]ThreadProbe

	// stopped lists the threads that hold a stop, or are asked for one.
	stopped []int
	// Shared are the signals pending for the process as a whole.
	Shared []sys.SigInfo

	stackFrame Addr // where the lead thread's frame goes before there is an arena
}

// Open reads what is needed to touch process pid. It changes nothing.
func Open(pid int) (*Origin, error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open memory of pid %d: %w", pid, err)
	}
	o := &Origin{PID: pid, mem: mem, probes: map[int]ThreadProbe{}}
	if err := o.survey(); err != nil {
		_ = mem.Close()
		return nil, fmt.Errorf("pid %d: %w", pid, err)
	}
	return o, nil
}

func (o *Origin) survey() error {
	vmas, err := procfs.Maps(o.PID)
	if err != nil {
		return err
	}
	if o.gadgets, err = findGadgets(o.mem, vmas); err != nil {
		return err
	}
	o.arena = 0
	for i := range arenaTries {
		hint := ArenaHint + Addr(i*arenaStep)
		if o.inherited = ours(vmas, hint); o.inherited || free(vmas, hint, ArenaSize) {
			o.arena = hint
			break
		}
	}
	if o.arena == 0 {
		return errors.New("no room for the arena")
	}
	for _, v := range vmas {
		if v.Path == "[stack]" {
			o.stackFrame = Addr(v.Start) + 8192
		}
	}
	if o.stackFrame == 0 {
		return errors.New("no [stack] mapping to begin from")
	}
	return nil
}

// ours reports whether an agent that died has left its arena at the address.
func ours(vmas []procfs.VMA, at Addr) bool {
	for _, v := range vmas {
		if v.Start == uint64(at) {
			return v.End-v.Start == ArenaSize && v.Read && v.Write && !v.Exec && !v.Shared && v.Inode == 0
		}
	}
	return false
}

// Sweep removes the arena that an agent which died has left in process pid, and
// reports whether there was one. It must not be called while another agent
// holds the process.
func Sweep(pid int) (bool, error) {
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return false, err
	}
	for i := range arenaTries {
		if !ours(vmas, ArenaHint+Addr(i*arenaStep)) {
			continue
		}
		o, err := Open(pid)
		if err != nil {
			return true, err
		}
		return true, errors.Join(o.Remove(), o.Close())
	}
	return false, nil
}

func free(vmas []procfs.VMA, at Addr, size uint64) bool {
	for _, v := range vmas {
		if v.Start < uint64(at)+size && uint64(at) < v.End {
			return false
		}
	}
	return true
}

// Close forgets the origin. It must have been released.
func (o *Origin) Close() error { return o.mem.Close() }

// Read fills buf from the origin's memory at addr.
func (o *Origin) Read(addr Addr, buf []byte) error { return readMem(o.mem, addr, buf) }

// Arena returns where pilot's memory lies in the origin, and in every clone of it.
func (o *Origin) Arena() Addr { return o.arena }

// Gadgets returns the addresses of the instructions used for injected calls.
func (o *Origin) Gadgets() Gadgets { return o.gadgets }

// hold seizes and stops one thread. The caller lets it go.
func (o *Origin) hold(tid int) error {
	if err := sys.Seize(tid, sys.OptSysGood|sys.OptClone); err != nil {
		if isGone(err) {
			return fmt.Errorf("seize tid %d: %w", tid, ErrGone)
		}
		return fmt.Errorf("seize tid %d: %w", tid, err)
	}
	if err := sys.Interrupt(tid); err != nil {
		return fmt.Errorf("interrupt tid %d: %w", tid, err)
	}
	return waitHalt(tid, time.Now().Add(prepareTimeout))
}

// inject makes a stopped production thread do calls, and leaves it stopped with
// the state it had. frame is where its way back is written. new collects the
// tids of threads made by the calls.
//
// From the moment the registers are changed, a dead tracer is harmless: the
// thread does at most the call it was set to, returns into the restorer, and
// sigreturn puts everything back.
func (o *Origin) inject(tid int, frame Addr, calls []Call) (child int, err error) {
	var saved sys.Regs
	if err := sys.GetRegs(tid, &saved); err != nil {
		return 0, err
	}
	xstate := make([]byte, frameSize)
	n, err := sys.GetRegSet(tid, sys.NTX86XState, xstate)
	if err != nil {
		return 0, err
	}
	o.xstate = n
	mask, err := sys.GetSigmask(tid)
	if err != nil {
		return 0, err
	}
	if err := writeMem(o.mem, frame, sigframe(frame, o.gadgets.Restorer, saved, xstate[:n], mask)); err != nil {
		return 0, err
	}
	// The stop may come from job control, and PTRACE_SETREGS does not clear
	// the restart of an interrupted call by itself: callRegs does.
	for i := range calls {
		regs := callRegs(saved, o.gadgets.Syscall, frame, calls[i])
		if err := sys.SetRegs(tid, &regs); err != nil {
			return child, err
		}
		if i == 0 {
			// Never before the registers lead to the frame: it holds the real mask.
			if err := sys.SetSigmask(tid, ^uint64(0)); err != nil {
				return child, err
			}
		}
		made, err := o.step(tid)
		if err != nil {
			return child, err
		}
		if made != 0 {
			child = made
		}
		if err := sys.GetRegs(tid, &regs); err != nil {
			return child, err
		}
		calls[i].Ret = int64(regs.Rax)
	}
	if err := sys.SetSigmask(tid, mask); err != nil {
		return child, err
	}
	return child, sys.SetRegs(tid, &saved)
}

// step lets a thread run through one system call, to its exit.
func (o *Origin) step(tid int) (child int, err error) {
	deadline := time.Now().Add(prepareTimeout)
	for range 2 {
		if err := sys.ContSyscall(tid); err != nil {
			return child, err
		}
		made, err := waitSyscall(tid, deadline)
		if err != nil {
			return child, err
		}
		if made != 0 {
			child = made
		}
	}
	return child, nil
}

// onLead runs calls in the thread group leader, from a frame at the far end of
// its stack, whose bytes are put back afterwards.
func (o *Origin) onLead(calls []Call, frame Addr) (child int, err error) {
	if err := o.hold(o.PID); err != nil {
		return 0, errors.Join(err, o.letGo(o.PID))
	}
	defer func() { err = errors.Join(err, o.letGo(o.PID)) }()
	if frame != o.stackFrame {
		return o.inject(o.PID, frame, calls)
	}
	var regs sys.Regs
	if err := sys.GetRegs(o.PID, &regs); err != nil {
		return 0, err
	}
	if Addr(regs.Rsp) < frame+2*frameSize && Addr(regs.Rsp) > frame-frameSize {
		return 0, errors.New("the lead thread uses the end of its stack")
	}
	kept := make([]byte, frameSize)
	if err := readMem(o.mem, frame, kept); err != nil {
		return 0, err
	}
	if child, err = o.inject(o.PID, frame, calls); err != nil {
		return child, err // the frame may still be the thread's way back
	}
	return child, writeMem(o.mem, frame, kept)
}

// Prepare maps the arena and makes the helper: an extra thread that never runs
// but to do what pilot asks of it. Only the lead thread is stopped, for some
// hundred microseconds. Undo it with Remove.
func (o *Origin) Prepare() error {
	if err := o.mapArena(); err != nil {
		return err
	}
	if err := o.writeFallbacks(); err != nil {
		return err
	}
	return o.makeHelper()
}

func (o *Origin) mapArena() error {
	if o.inherited {
		return nil
	}
	calls := []Call{Sys(unix.SYS_MMAP, uint64(o.arena), ArenaSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)}
	if _, err := o.onLead(calls, o.stackFrame); err != nil {
		o.arena = 0
		return fmt.Errorf("map arena in pid %d: %w", o.PID, err)
	}
	if got := calls[0]; got.Err() != nil || Addr(got.Ret) != o.arena {
		o.arena = 0
		return fmt.Errorf("map arena in pid %d: %w", o.PID, got.Err())
	}
	return nil
}

// writeFallbacks fills the frames that orphans of the tracer end by.
func (o *Origin) writeFallbacks() error {
	exit := Sys(unix.SYS_EXIT, 0)
	reap := Sys(unix.SYS_WAIT4, ^uint64(0), 0, unix.WALL|unix.WNOTHREAD, 0)
	end := Sys(unix.SYS_EXIT_GROUP, 0)
	base := sys.Regs{Cs: 0x33, Ss: 0x2b, Eflags: 0x202}
	for _, f := range []struct {
		slot, next Addr
		call       Call
	}{{slotExit, slotExit, exit}, {slotReap, slotExit, reap}, {slotSeed, slotSeed, end}} {
		at := o.arena + f.slot
		regs := callRegs(base, o.gadgets.Syscall, o.arena+f.next, f.call)
		if err := writeMem(o.mem, at, sigframe(at, o.gadgets.Restorer, regs, nil, ^uint64(0))); err != nil {
			return err
		}
	}
	return nil
}

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

// Probe asks every thread, one at a time, for what only it knows. The other
// threads run on. Threads that end meanwhile are passed over.
func (o *Origin) Probe() error {
	tids, err := procfs.Tasks(o.PID)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if tid == o.helper {
			continue
		}
		if err := o.hold(tid); err != nil {
			if errors.Is(err, ErrGone) {
				continue
			}
			return errors.Join(err, o.letGo(tid))
		}
		err := o.probeStopped(tid)
		if err := errors.Join(err, o.letGo(tid)); err != nil {
			return fmt.Errorf("probe tid %d: %w", tid, err)
		}
	}
	return nil
}

// letGo detaches from a thread. ptrace answers ESRCH both for a thread that has
// ended and for one that is not stopped, which an error path may leave behind:
// then it is stopped first.
func (o *Origin) letGo(tid int) error {
	err := sys.Detach(tid, 0)
	if isGone(err) {
		if ierr := sys.Interrupt(tid); isGone(ierr) {
			return nil
		}
		if err = waitHalt(tid, time.Now().Add(prepareTimeout)); errors.Is(err, ErrGone) {
			return nil
		}
		if err == nil {
			err = sys.Detach(tid, 0)
		}
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("detach tid %d: %w", tid, err)
	}
	return nil
}

func (o *Origin) probeStopped(tid int) error {
	var regs sys.Regs
	if err := sys.GetRegs(tid, &regs); err != nil {
		return err
	}
	const prGetTIDAddress = 40 // include/uapi/linux/prctl.h
	data := o.Data()
	calls := []Call{
		Sys(unix.SYS_SIGALTSTACK, 0, uint64(data)),
		Sys(unix.SYS_PRCTL, prGetTIDAddress, uint64(data)+24),
	}
	if _, err := o.inject(tid, o.arena+slotThread, calls); err != nil {
		return err
	}
	for _, c := range calls {
		if err := c.Err(); err != nil {
			return err
		}
	}
	var buf [32]byte
	if err := readMem(o.mem, data, buf[:]); err != nil {
		return err
	}
	p := ThreadProbe{fsBase: regs.Fs_base, nr: regs.Orig_rax, rip: regs.Rip}
	copy(p.AltStack[:], buf[:24])
	for i, b := range buf[24:] {
		p.ClearTID |= uint64(b) << (8 * i)
	}
	o.probes[tid] = p
	return nil
}

// Ended reports whether the process is gone, or a zombie.
func (o *Origin) Ended() bool {
	status, err := procfs.ReadStatus(o.PID)
	return err != nil || strings.HasPrefix(status.State, "Z") || strings.HasPrefix(status.State, "X")
}

// Remove undoes Prepare: the helper ends, reaped by the kernel like any thread,
// and the arena is unmapped. No thread may be stopped, the seed must be reaped.
//
// A process that has ended needs no undoing.
func (o *Origin) Remove() (err error) {
	defer func() {
		if err != nil && o.Ended() {
			err = nil
		}
	}()
	var errs []error
	if o.helper != 0 {
		regs := callRegs(o.base, o.gadgets.Syscall, o.arena+slotExit, Sys(unix.SYS_EXIT, 0))
		err := sys.SetRegs(o.helper, &regs)
		if err == nil {
			err = sys.Cont(o.helper, 0)
		}
		for err == nil {
			var stop Stop
			if stop, err = wait(o.helper, time.Now().Add(prepareTimeout)); err == nil && stop.Kind == StopExited {
				break
			}
			if err == nil {
				err = sys.Cont(o.helper, 0)
			}
		}
		if err != nil && !isGone(err) && !errors.Is(err, ErrGone) {
			errs = append(errs, fmt.Errorf("end helper %d: %w", o.helper, err))
		}
		o.helper = 0
	}
	if o.arena != 0 {
		calls := []Call{Sys(unix.SYS_MUNMAP, uint64(o.arena), ArenaSize)}
		_, err := o.onLead(calls, o.stackFrame)
		if err == nil {
			err = calls[0].Err()
		}
		if err != nil && !errors.Is(err, ErrGone) {
			errs = append(errs, fmt.Errorf("unmap arena of pid %d: %w", o.PID, err))
		}
		o.arena = 0
	}
	return errors.Join(errs...)
}
