//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A phantom is one process of a world under construction, or running.
type phantom struct {
	process *capture.Process
	entry   *tracee.Puppet // see forkContained
	stem    *tracee.Puppet
	reaper  *tracee.Puppet // likewise; of the first phantom only
	lead    *tracee.Puppet
	threads []*tracee.Puppet // without the lead, in the order of process.Threads[1:]
	pidfd   sys.FD
	post    *mailbox
	running bool
	// contained is set in a world of a container: see forkContained.
	contained bool
	buried    atomic.Bool // see World.Bury
}

// forbidden are the capabilities that nothing in a world has: those that reach
// out of it, that would undo its mounts, or that give power over its init. See
// capabilities(7).
var forbidden = []int{
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT,
	unix.CAP_SYS_TIME, unix.CAP_MKNOD, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE,
	unix.CAP_SYSLOG, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE,
	unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_WRITE, unix.CAP_LINUX_IMMUTABLE,
}

// fork makes the phantom's process inside the namespaces of w. It has its
// origin's memory, one thread, no descriptors.
func (ph *phantom) fork(w *World) error {
	stem, err := ph.process.Seed.Fork(0, 0)
	if err != nil {
		return err
	}
	ph.stem = stem
	if err := w.admit(stem); err != nil {
		return err
	}
	if err := fault.StemForked.Hit(); err != nil {
		return err
	}
	// The stem's descriptor table is empty, so the pidfd is 0.
	const spaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
		unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID
	err = stem.Do(
		tracee.Sys(unix.SYS_PIDFD_OPEN, uint64(w.init.PID()), 0),
		tracee.Sys(unix.SYS_SETNS, 0, spaces),
		tracee.Sys(unix.SYS_CLOSE, 0),
	)
	if err != nil {
		return fmt.Errorf("enter the world: %w", err)
	}
	if err := fault.WorldEntered.Hit(); err != nil {
		return err
	}
	return ph.forkLead()
}

// forkLead makes the process as a child of the stem.
func (ph *phantom) forkLead() (err error) {
	if ph.lead, err = ph.stem.Fork(0, ph.number()); err != nil {
		return err
	}
	if err := fault.PhantomForked.Hit(); err != nil {
		return err
	}
	if err := ph.lead.Block(); err != nil {
		return err
	}
	if ph.pidfd, err = sys.PidfdOpen(ph.lead.PID); err != nil {
		return err
	}
	if err := ph.enterCwd(); err != nil {
		return err
	}
	// Away from production's process group: kill(0, ...) would reach it.
	return ph.lead.Do(tracee.Sys(unix.SYS_SETSID))
}

// number is the pid that the process has for itself.
func (ph *phantom) number() int { return ph.process.Number(ph.process.Member.PID) }

func (ph *phantom) enterCwd() error {
	at, _ := ph.lead.Data()
	if err := ph.lead.Write(at, append([]byte(ph.process.Cwd), 0)); err != nil {
		return err
	}
	if err := ph.lead.Do(tracee.Sys(unix.SYS_CHDIR, uint64(at))); err != nil {
		return fmt.Errorf("chdir %s: %w", ph.process.Cwd, err)
	}
	return nil
}

// makeThreads makes the other threads, under their origins' numbers.
func (ph *phantom) makeThreads() error {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	for _, t := range ph.process.Threads[1:] {
		thread, err := ph.lead.Fork(flags, ph.process.Number(t.TID))
		if err != nil {
			return err
		}
		ph.threads = append(ph.threads, thread)
	}
	return nil
}

// ssDisable is SS_DISABLE: there is no alternate stack (include/uapi/asm-generic/signal-defs.h).
const ssDisable = 2

// each calls fn for every thread, the lead last, with the state it is to have.
func (ph *phantom) each(fn func(p *tracee.Puppet, t tracee.Thread) error) error {
	for i, p := range ph.threads {
		if err := fn(p, ph.process.Threads[i+1]); err != nil {
			return fmt.Errorf("thread %d: %w", ph.process.Threads[i+1].TID, err)
		}
	}
	return fn(ph.lead, ph.process.Threads[0])
}

// equipThread gives a thread what belongs to it in the kernel, and then takes
// away the rights that it must not have.
func (ph *phantom) equipThread(p *tracee.Puppet, t tracee.Thread) error {
	at, _ := p.Data()
	name := make([]byte, 16)
	copy(name[:15], ph.process.Names[t.TID])
	buf := append(append([]byte(nil), t.Probe.AltStack[:]...), name...)
	pending := uint64(len(buf))
	for i := range t.Pending {
		buf = append(buf, t.Pending[i][:]...)
	}
	if err := p.Write(at, buf); err != nil {
		return err
	}
	base := uint64(at)
	var calls []tracee.Call
	if t.Robust != 0 {
		calls = append(calls, tracee.Sys(unix.SYS_SET_ROBUST_LIST, t.Robust, 24))
	}
	calls = append(calls, tracee.Sys(unix.SYS_SET_TID_ADDRESS, t.Probe.ClearTID))
	// A stack in use cannot be registered, nor need the flag for "in use" be.
	if flags := binary.LittleEndian.Uint32(t.Probe.AltStack[8:]); flags&ssDisable == 0 {
		calls = append(calls, tracee.Sys(unix.SYS_SIGALTSTACK, base, 0))
	}
	if ph.process.Names[t.TID] != "" {
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_NAME, base+24))
	}
	if t.Rseq.Addr != 0 {
		calls = append(calls, tracee.Sys(unix.SYS_RSEQ, t.Rseq.Addr, uint64(t.Rseq.Size), uint64(t.Rseq.Flags), uint64(t.Rseq.Signature)))
	}
	for i, s := range t.Pending {
		calls = append(calls, tracee.Sys(unix.SYS_RT_TGSIGQUEUEINFO, uint64(ph.number()), uint64(ph.process.Number(t.TID)),
			uint64(s.Signo()), base+pending+uint64(i*len(s))))
	}
	if err := p.Do(calls...); err != nil {
		return err
	}
	if err := ph.giveCredentials(p, t.TID); err != nil {
		return err
	}
	if t.Probe.DeathSignal == 0 {
		return nil
	}
	// Last: a change of rights would clear it.
	return p.Do(tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(t.Probe.DeathSignal)))
}

// release lets all threads of the phantom run.
func (ph *phantom) release() error {
	var errs []error
	if ph.process.Origin.Halted { // it stops again before its first instruction
		errs = append(errs, os.NewSyscallError("kill", unix.Kill(ph.lead.PID, unix.SIGSTOP)))
	}
	for _, p := range append(ph.threads, ph.lead) {
		errs = append(errs, p.Release())
	}
	ph.running = true
	return errors.Join(errs...)
}

// reapStem lets the stem's parent collect it.
func (ph *phantom) reapStem() error {
	if ph.contained {
		return ph.process.Origin.Reap(ph.stem.PID)
	}
	return ph.process.Seed.ReapChild(ph.stem.PID)
}

// ended reports whether the phantom is a zombie, or gone.
func (ph *phantom) ended() bool {
	if ph.buried.Load() {
		return true
	}
	stat, err := procfs.ReadStat(ph.lead.PID)
	return err != nil || stat.State == 'Z' || stat.State == 'X'
}

// Bury collects a phantom that has ended, once its exit status was read. Its
// parent in the world does nothing by itself: without this the phantom stays a
// zombie, scripts that wait with kill(pid, 0) never see its end, and number 1 of
// a container waits for it.
func (w *World) Bury(phantom Phantom) {
	_ = w.tracer.Do(func() error {
		for _, ph := range w.phantoms {
			if ph.pidfd == phantom.PIDFD && !ph.buried.Load() {
				_ = ph.stem.ReapChild(ph.lead.PID)
				ph.buried.Store(true)
			}
		}
		return nil
	})
}

// kill ends what is left of the phantom, the child before its parent.
func (ph *phantom) kill() error {
	var errs []error
	if ph.lead != nil && !ph.buried.Load() {
		if ph.pidfd >= 0 {
			errs = append(errs, ph.lead.KillBy(ph.pidfd))
		} else {
			errs = append(errs, ph.lead.Kill())
		}
		if !ph.running {
			errs = append(errs, tracee.WaitAllGone(append(ph.threads, ph.lead)))
		}
		errs = append(errs, fault.PhantomKilled.Hit(), ph.stem.ReapChild(ph.lead.PID), fault.PhantomReaped.Hit())
	}
	if ph.reaper != nil {
		errs = append(errs, ph.reaper.Kill(), ph.reaper.WaitGone(), ph.stem.ReapChild(ph.reaper.PID))
	}
	errs = append(errs, ph.endEntry())
	if ph.stem != nil {
		errs = append(errs, ph.stem.Kill(), ph.stem.WaitGone(), ph.reapStem(), fault.StemReaped.Hit())
	}
	if ph.pidfd >= 0 {
		_ = ph.pidfd.Close()
	}
	return errors.Join(errs...)
}
