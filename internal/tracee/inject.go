//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// hold seizes and stops one thread. The caller lets it go.
func (o *Origin) hold(tid int) error {
	defer o.wards.widen()()
	o.stranded = slices.DeleteFunc(o.stranded, detachStopped)
	if slices.Contains(o.stranded, tid) {
		return errors.New(o.asleep(tid))
	}
	if err := o.seize(tid, sys.OptSysGood); err != nil {
		return fmt.Errorf("seize tid %d: %w", tid, err)
	}
	if err := fault.ThreadSeized.Hit(); err != nil {
		return err
	}
	if err := sys.Interrupt(tid); err != nil {
		return fmt.Errorf("interrupt tid %d: %w", tid, err)
	}
	err := waitHalt(tid, time.Now().Add(prepareTimeout))
	if errors.Is(err, ErrBudget) {
		return errors.New(o.asleep(tid))
	}
	if err != nil {
		return err
	}
	return fault.ThreadHeld.Hit()
}

// inject makes a stopped production thread do calls, and leaves it stopped with
// the state it had. frame is where its way back is written. new collects the
// tids of threads made by the calls.
//
// From the moment the registers are changed, a dead tracer is harmless: the
// thread does at most the call it was set to, returns into the restorer, and
// sigreturn puts everything back.
func (o *Origin) inject(tid int, frame Addr, calls []Call) (child int, err error) {
	if err := o.permit(tid, calls...); err != nil {
		return 0, err
	}
	var saved sys.Regs
	if err := sys.GetRegs(tid, &saved); err != nil {
		return 0, err
	}
	xstate := make([]byte, frameSize)
	n, err := sys.GetRegSet(tid, sys.NTX86XState, xstate)
	if err != nil {
		return 0, err
	}
	if n < minXState {
		return 0, fmt.Errorf("the processor state of tid %d has %d bytes", tid, n)
	}
	o.xstate = n
	mask, err := sys.GetSigmask(tid)
	if err != nil {
		return 0, err
	}
	if err := writeMem(o.mem, frame, sigframe(frame, o.gadgets.Restorer, saved, xstate[:n], mask)); err != nil {
		return 0, err
	}
	if err := fault.FrameWritten.Hit(); err != nil {
		return 0, err
	}
	// The stop may come from job control, and PTRACE_SETREGS does not clear
	// the restart of an interrupted call by itself: callRegs does.
	was := o.astray
	o.astray = true
	defer func() {
		if errors.Is(err, ErrGone) {
			o.astray = false // who has ended does not come back
		}
	}()
	for i := range calls {
		regs := callRegs(saved, o.gadgets.Syscall, frame, calls[i])
		if err := sys.SetRegs(tid, &regs); err != nil {
			return child, err
		}
		if err := fault.RegsSet.Hit(); err != nil {
			return child, err
		}
		if i == 0 {
			// Never before the registers lead to the frame: it holds the real mask.
			if err := sys.SetSigmask(tid, ^uint64(0)); err != nil {
				return child, err
			}
			if err := fault.MaskSet.Hit(); err != nil {
				return child, err
			}
		}
		made, err := o.step(tid, time.Now().Add(prepareTimeout))
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
	if err := fault.MaskRestored.Hit(); err != nil {
		return child, err
	}
	if err := sys.SetRegs(tid, &saved); err != nil {
		return child, err
	}
	o.astray = was
	return child, fault.RegsRestored.Hit()
}

// step lets a thread run through one system call, to its exit.
func (o *Origin) step(tid int, deadline time.Time) (child int, err error) {
	defer o.wards.widen()()
	if !o.until.IsZero() && o.until.Before(deadline) {
		deadline = o.until
	}
	for _, at := range []fault.Point{fault.CallEntered, fault.CallMade} {
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
		if err := at.Hit(); err != nil {
			return child, err
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
	// Not before it has stopped: what it made on its way would be ours too.
	if err := sys.SetOptions(o.PID, sys.OptSysGood|sys.OptClone); err != nil {
		return 0, err
	}
	if frame != o.stackFrame {
		return o.inject(o.PID, frame, calls)
	}
	var regs sys.Regs
	if err := sys.GetRegs(o.PID, &regs); err != nil {
		return 0, err
	}
	if o.onStackFrame(Addr(regs.Rsp)) {
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

// letGo detaches from a thread. ptrace answers ESRCH both for a thread that has
// ended and for one that is not stopped, which an error path may leave behind.
func (o *Origin) letGo(tid int) error {
	err := detach(tid)
	if isGone(err) {
		o.late = append(o.late, tid)
		o.ReleaseLate()
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach tid %d: %w", tid, err)
	}
	return fault.ThreadLetGo.Hit()
}

// detach lets a stopped thread go. A signal that it is about to take must not
// be lost with the tracer's interest in it.
func detach(tid int) error {
	_, ws, err := sys.PeekWait(tid)
	if err == nil && ws.Stopped() {
		if stop, err := classify(ws); err == nil && stop.Kind == StopSignal {
			return sys.Detach(tid, stop.Signal)
		}
	}
	return sys.Detach(tid, 0)
}
