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
	for _, tid := range tids {
		if tid == o.helper || slices.Contains(o.stopped, tid) {
			continue
		}
		err := sys.Seize(tid, sys.OptSysGood)
		if err == nil {
			o.stopped = append(o.stopped, tid)
			found++
			err = sys.Interrupt(tid)
		}
		if err == nil {
			err = fault.ThreadInterrupted.Hit()
		}
		if err != nil && !isGone(err) {
			return found, fmt.Errorf("stop tid %d: %w", tid, err)
		}
	}
	return found, nil
}

// WaitStopped returns when no thread of the origin can run. A thread that is
// born while its process is being stopped is met by the next look at the list.
func (o *Origin) WaitStopped(deadline time.Time) error {
	for waited := 0; ; {
		for ; waited < len(o.stopped); waited++ {
			err := waitHalt(o.stopped[waited], deadline)
			if errors.Is(err, ErrGone) {
				o.stopped = slices.Delete(o.stopped, waited, waited+1)
				waited--
				continue
			}
			if err != nil {
				return fmt.Errorf("stop pid %d: %w", o.PID, err)
			}
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

// Capture reads the state of every stopped thread. The leader comes first.
// It changes nothing, except that a thread born since Probe is asked now.
func (o *Origin) Capture() ([]Thread, error) {
	threads := make([]Thread, 0, len(o.stopped))
	for _, tid := range o.stopped {
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

// Release lets every stopped thread go. It goes on past errors, since a thread
// that is left stopped is the worst outcome.
func (o *Origin) Release() error {
	var errs []error
	for _, tid := range o.stopped {
		if err := o.letGo(tid); err != nil {
			errs = append(errs, err)
		}
		if err := fault.ThreadReleased.Hit(); err != nil {
			errs = append(errs, err)
		}
	}
	o.stopped = o.stopped[:0]
	return errors.Join(errs...)
}

// Stopped returns how many threads are stopped now.
func (o *Origin) Stopped() int { return len(o.stopped) }

func (o *Origin) seedCall() Call { return Sys(unix.SYS_CLONE, 0, uint64(o.arena+slotSeed)) }

// ArmFork brings the helper to the gate of clone, so that in the pause one
// request suffices. exit_signal is 0: the origin's own waits never see the child.
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
	return fault.ForkArmed.Hit()
}

// DisarmFork takes the helper away from the gate without a clone.
func (o *Origin) DisarmFork() error {
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
	if err := sys.ContSyscall(o.helper); err != nil {
		return err
	}
	o.forking = true
	return fault.ForkStarted.Hit()
}

// FinishFork waits for the clone and returns it: the seed, stopped, bound to
// die with the tracer.
func (o *Origin) FinishFork(deadline time.Time) (*Puppet, error) {
	pid, err := waitSyscall(o.helper, deadline)
	o.unborn = pid
	if err != nil {
		return nil, fmt.Errorf("fork pid %d: %w", o.PID, err)
	}
	o.forking = false
	if pid == 0 {
		var regs sys.Regs
		if err := sys.GetRegs(o.helper, &regs); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("fork pid %d: %w", o.PID, Call{Ret: int64(regs.Rax)}.Err())
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
	_, err = o.Helper(Sys(unix.SYS_WAIT4, uint64(number), 0, unix.WALL|unix.WNOTHREAD, 0))
	return err
}
