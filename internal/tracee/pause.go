//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Interrupt asks every thread of the origin, but the helper, to stop. It does
// not wait: so all threads of all origins stop at nearly the same moment.
func (o *Origin) Interrupt() error {
	_, err := o.interruptNew()
	return err
}

// interruptNew seizes and interrupts the threads that it has not met before.
func (o *Origin) interruptNew() (found int, err error) {
	tids, err := procfs.Tasks(o.PID)
	if err != nil {
		return 0, fmt.Errorf("list threads of pid %d: %w", o.PID, err)
	}
	if o.met == nil {
		o.met = make(map[int]bool, len(tids))
	}
	for _, tid := range tids {
		if tid == o.helper || o.met[tid] {
			continue
		}
		err := o.seize(tid, sys.OptSysGood)
		if err == nil {
			o.stopped = append(o.stopped, tid)
			o.met[tid] = true
			found++
			err = sys.Interrupt(tid)
		}
		if err == nil {
			err = fault.ThreadInterrupted.Hit()
		}
		if err != nil && !isGone(err) && !errors.Is(err, ErrGone) {
			return found, fmt.Errorf("stop tid %d: %w", tid, err)
		}
	}
	return found, nil
}

// WaitStopped returns when no thread of the origin can run. A thread that is
// born while its process is being stopped is met by the next look at the list.
func (o *Origin) WaitStopped(limit Limit) error {
	o.until = limit.At()
	for waited := 0; ; {
		for ; waited < len(o.stopped); waited++ {
			err := o.waitStopped(o.stopped[waited], limit)
			if errors.Is(err, ErrGone) {
				o.stopped = slices.Delete(o.stopped, waited, waited+1)
				waited--
				continue
			}
			if err != nil {
				return fmt.Errorf("stop pid %d: %w", o.PID, err)
			}
		}
		if err := limit.Err(); err != nil {
			return fmt.Errorf("stop pid %d, which has %d threads by now: %w", o.PID, len(o.stopped), err)
		}
		found, err := o.interruptNew()
		if err != nil {
			return err
		}
		if found == 0 {
			return fault.ThreadsStopped.Hit()
		}
	}
}

// stopLook is how long one thread is waited for before the limit is looked at.
const stopLook = 2 * time.Millisecond

func (o *Origin) waitStopped(tid int, limit Limit) error {
	for {
		stop, err := halt(tid, time.Now().Add(stopLook))
		if err == nil && stop.Kind == StopGroup {
			o.Halted = true
		}
		if !errors.Is(err, ErrBudget) {
			return err
		}
		if err := limit.Err(); err != nil {
			return fmt.Errorf("%s: %w", o.asleep(tid), err)
		}
	}
}

// Capture reads the state of every stopped thread. The leader comes first.
// It changes nothing, except that a thread born since Probe is asked now.
func (o *Origin) Capture(limit Limit) ([]Thread, error) {
	threads := make([]Thread, 0, len(o.stopped))
	for _, tid := range o.stopped {
		if err := limit.Err(); err != nil {
			return nil, fmt.Errorf("capture pid %d: %d of %d threads: %w", o.PID, len(threads), len(o.stopped), err)
		}
		t, err := o.captureThread(tid)
		if err != nil {
			return nil, fmt.Errorf("capture tid %d: %w", tid, err)
		}
		threads = append(threads, t)
		if err := fault.ThreadCaptured.Hit(); err != nil {
			return nil, err
		}
	}
	lead := slices.IndexFunc(threads, func(t Thread) bool { return t.TID == o.PID })
	if lead < 0 {
		return nil, fmt.Errorf("capture pid %d: its lead thread has ended: %w", o.PID, ErrGone)
	}
	threads[0], threads[lead] = threads[lead], threads[0]
	var err error
	o.Shared, err = sys.PeekSigInfo(o.PID, true)
	return threads, err
}

func (o *Origin) captureThread(tid int) (t Thread, err error) {
	t.TID = tid
	if err := sys.GetRegs(tid, &t.Regs); err != nil {
		return t, err
	}
	t.XState = make([]byte, o.xstate)
	if _, err := sys.GetRegSet(tid, sys.NTX86XState, t.XState); err != nil {
		return t, err
	}
	if t.Sigmask, err = sys.GetSigmask(tid); err != nil {
		return t, err
	}
	if t.Rseq, err = sys.GetRseq(tid); err != nil {
		return t, err
	}
	if t.Robust, _, err = sys.RobustList(tid); err != nil {
		return t, err
	}
	if t.Pending, err = sys.PeekSigInfo(tid, false); err != nil {
		return t, err
	}
	p, known := o.probes[tid]
	if !known || p.fsBase != t.Regs.Fs_base {
		if err := o.probeStopped(tid); err != nil {
			return t, err
		}
		p = o.probes[tid]
	}
	t.Probe = p
	// A call that was already restarted once shows as restart_syscall, whose
	// arguments are in the kernel only. The probe saw which call it was.
	if t.Regs.Orig_rax == sysRestartSyscall && p.rip == t.Regs.Rip && int64(p.nr) >= 0 {
		t.Regs.Orig_rax = p.nr
	}
	return t, nil
}

// Stopped returns how many threads are stopped now.
func (o *Origin) Stopped() int { return len(o.stopped) }

func (o *Origin) seedCall() Call { return Sys(unix.SYS_CLONE, 0, uint64(o.arena+slotSeed)) }

// ArmFork brings the helper to the gate of clone, so that one request suffices
// then, and the clones of all origins begin together. exit_signal is 0: the
// origin's own waits never see the child.
func (o *Origin) ArmFork() error {
	call := o.seedCall()
	if err := o.permit(o.helper, call); err != nil {
		return err
	}
	regs := callRegs(o.base, o.gadgets.Syscall, o.arena+slotReap, call)
	if err := sys.SetRegs(o.helper, &regs); err != nil {
		return err
	}
	if err := sys.ContSyscall(o.helper); err != nil {
		return err
	}
	if _, err := waitSyscall(o.helper, time.Now().Add(prepareTimeout)); err != nil {
		return err
	}
	o.armed = true
	return fault.ForkArmed.Hit()
}

// DisarmFork takes the helper away from the gate, if it is there, without a clone.
func (o *Origin) DisarmFork() error {
	if !o.armed {
		return nil
	}
	o.armed = false
	var regs sys.Regs
	if err := sys.GetRegs(o.helper, &regs); err != nil {
		return err
	}
	regs.Orig_rax = ^uint64(0) // at the entry stop: make no call
	if err := sys.SetRegs(o.helper, &regs); err != nil {
		return err
	}
	if err := sys.ContSyscall(o.helper); err != nil {
		return err
	}
	if _, err := waitSyscall(o.helper, time.Now().Add(prepareTimeout)); err != nil {
		return err
	}
	return fault.ForkDisarmed.Hit()
}

// StartFork opens the gate. Several origins fork at once.
func (o *Origin) StartFork() error {
	o.armed = false
	if err := sys.ContSyscall(o.helper); err != nil {
		return err
	}
	o.forking, o.cloned = true, true
	return fault.ForkStarted.Hit()
}

// Forking reports whether a clone was begun that FinishFork has not seen the end of.
func (o *Origin) Forking() bool { return o.forking }

// FinishFork waits for the clone and returns it: the seed, stopped, bound to
// die with the tracer.
func (o *Origin) FinishFork(deadline time.Time) (*Puppet, error) {
	pid, err := waitSyscall(o.helper, deadline)
	if pid != 0 {
		o.unborn = pid
	}
	if err != nil {
		return nil, fmt.Errorf("fork pid %d: %w", o.PID, err)
	}
	o.forking = false
	if pid == 0 {
		var regs sys.Regs
		if err := sys.GetRegs(o.helper, &regs); err != nil {
			return nil, err
		}
		if err := (Call{Ret: int64(regs.Rax)}).Err(); err != nil {
			return nil, fmt.Errorf("fork pid %d: %w", o.PID, err)
		}
		// An earlier wait, that ran out of time, saw the event. The result of
		// the call is the number in the origin's pid namespace.
		if pid = o.unborn; pid == 0 {
			return nil, fmt.Errorf("fork pid %d: clone made no traced process", o.PID)
		}
	}
	if err := fault.SeedBorn.Hit(); err != nil {
		return nil, err
	}
	seed, err := newPuppet(pid, o)
	if err == nil {
		err = fault.SeedAdopted.Hit()
	}
	if err != nil {
		seed.closeMem()
		return nil, err
	}
	o.unborn = 0
	return seed, nil
}

// Reap collects the seed after it was killed, so that no zombie stays. Where
// the origin has ended, the seed has another parent already, which does it.
func (o *Origin) Reap(pid int) error {
	if o.Ended() {
		return nil
	}
	number, err := Number(pid, o.PID)
	if err != nil {
		return err
	}
	_, err = o.HelperUntil(time.Now().Add(endTimeout), Sys(unix.SYS_WAIT4, uint64(number), 0, unix.WALL|unix.WNOTHREAD, 0))
	if err != nil && o.Fate(isGone(err) || errors.Is(err, ErrGone)) != nil {
		return nil
	}
	return err
}
