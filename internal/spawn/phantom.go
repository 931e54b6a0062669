//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A phantom is one process of a world under construction, or running.
type phantom struct {
	process *capture.Process
	stem    *tracee.Puppet
	lead    *tracee.Puppet
	threads []*tracee.Puppet // without the lead, in the order of process.Threads[1:]
	pidfd   sys.FD
	post    *mailbox
	running bool
}

// forbidden are the capabilities that nothing in a world has: those that reach
// out of it, or that would undo its read-only mounts. See capabilities(7).
var forbidden = []int{
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT,
	unix.CAP_SYS_TIME, unix.CAP_MKNOD, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE,
	unix.CAP_SYSLOG, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE,
	unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_WRITE, unix.CAP_LINUX_IMMUTABLE,
}

// fork makes the phantom's process inside the namespaces of the world whose
// init has pid initPID. It has its origin's memory, one thread, no descriptors.
func (ph *phantom) fork(initPID int) error {
	ph.pidfd = -1 // none yet
	stem, err := ph.process.Seed.Fork(0, 0)
	if err != nil {
		return err
	}
	ph.stem = stem
	// The stem's descriptor table is empty, so the pidfd is 0.
	const spaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
		unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID
	err = stem.Do(
		tracee.Sys(unix.SYS_PIDFD_OPEN, uint64(initPID), 0),
		tracee.Sys(unix.SYS_SETNS, 0, spaces),
		tracee.Sys(unix.SYS_CLOSE, 0),
	)
	if err != nil {
		return fmt.Errorf("enter the world: %w", err)
	}
	if ph.lead, err = stem.Fork(0, ph.process.Member.PID); err != nil {
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
		thread, err := ph.lead.Fork(flags, t.TID)
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

// equipThread gives a thread what belongs to it in the kernel.
func (ph *phantom) equipThread(p *tracee.Puppet, t tracee.Thread) error {
	at, _ := p.Data()
	name := make([]byte, 16)
	copy(name[:15], ph.process.Names[t.TID])
	caps := capset(ph.process.Caps)
	buf := append(append(append([]byte(nil), t.Probe.AltStack[:]...), name...), caps...)
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
		calls = append(calls, tracee.Sys(unix.SYS_RT_TGSIGQUEUEINFO, uint64(ph.process.Member.PID), uint64(t.TID),
			uint64(s.Signo()), base+pending+uint64(i*len(s))))
	}
	for _, c := range forbidden {
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uint64(c)))
	}
	must := len(calls)
	calls = append(calls, tracee.Sys(unix.SYS_CAPSET, base+24+16, base+24+16+8))
	if _, err := p.Batch(calls); err != nil {
		return err
	}
	for i, c := range calls {
		if err := c.Err(); err != nil && !(i < must && errors.Is(err, unix.EINVAL) && c.Nr == unix.SYS_PRCTL) {
			return fmt.Errorf("call %d: %w", c.Nr, err)
		}
	}
	return nil
}

// capset returns the header and data of capset(2) for the capabilities of the
// origin, less the forbidden ones.
func capset(caps uint64) []byte {
	for _, c := range forbidden {
		caps &^= 1 << c
	}
	le := binary.LittleEndian
	buf := make([]byte, 8+24)
	le.PutUint32(buf, unix.LINUX_CAPABILITY_VERSION_3)
	for i := range 2 {
		half := uint32(caps >> (32 * i))
		le.PutUint32(buf[8+12*i:], half)   // effective
		le.PutUint32(buf[8+12*i+4:], half) // permitted
	}
	return buf
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

// kill ends what is left of the phantom, the child before its parent.
func (ph *phantom) kill() error {
	var errs []error
	if ph.lead != nil {
		errs = append(errs, ph.lead.Kill())
		if !ph.running {
			for _, p := range append(ph.threads, ph.lead) {
				errs = append(errs, p.WaitGone())
			}
		}
		errs = append(errs, ph.stem.ReapChild(ph.lead.PID))
	}
	if ph.stem != nil {
		errs = append(errs, ph.stem.Kill(), ph.stem.WaitGone(), ph.process.Seed.ReapChild(ph.stem.PID))
	}
	if ph.pidfd >= 0 {
		_ = ph.pidfd.Close()
	}
	return errors.Join(errs...)
}
