//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// makeReaper makes number 1 of a world that has no phantom with this number. It
// never runs: it ignores the ends of children, so that the kernel reaps the
// orphans that fall to it. It stays a tracee, and with the agent ends itself and
// all others of its pid namespace.
//
// Others of the world see it. So nothing is left to it: no file, no memory but
// the workshop's, no right; nobody may look into it.
func (ph *phantom) makeReaper() (err error) {
	if ph.reaper, err = ph.stem.Fork(0, 1); err != nil {
		return err
	}
	if err := fault.ReaperBorn.Hit(); err != nil {
		return err
	}
	p := ph.reaper
	if err := p.Block(); err != nil {
		return err
	}
	at, _ := p.Data()
	ignore := make([]byte, 32) // struct sigaction of the kernel: its handler is first
	ignore[0] = 1              // SIG_IGN
	name := append([]byte("pilot-reaper"), 0)
	if err := p.Write(at, append(ignore, name...)); err != nil {
		return err
	}
	if err := p.Do(
		tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_NAME, uint64(at)+uint64(len(ignore))),
		tracee.Sys(unix.SYS_RT_SIGACTION, uint64(unix.SIGCHLD), uint64(at), 0, 8),
		tracee.Sys(unix.SYS_SETSID),
		tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0),
	); err != nil {
		return fmt.Errorf("make number 1: %w", err)
	}
	if err := noCore(p); err != nil {
		return err
	}
	pidfd, err := sys.PidfdOpen(p.PID)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	listener, err := installFilter(p, pidfd, seal.Program())
	if err != nil {
		return err
	}
	_ = listener.Close()
	if err := unmapAll(p); err != nil {
		return fmt.Errorf("make number 1: %w", err)
	}
	return errors.Join(dropRights(p), fault.ReaperMade.Hit())
}

// unmapAll unmaps all memory of a puppet but its workshop: it has that of its
// origin, some of it shared.
func unmapAll(p *tracee.Puppet) error {
	vmas, err := procfs.Maps(p.PID)
	if err != nil {
		return err
	}
	from, to := p.Workshop()
	var calls []tracee.Call
	for _, v := range vmas {
		if v.Path == "[vsyscall]" || v.Start < uint64(to) && uint64(from) < v.End {
			continue
		}
		calls = append(calls, tracee.Sys(unix.SYS_MUNMAP, v.Start, v.End-v.Start))
	}
	return p.Do(calls...)
}

// dropRights takes every capability from a puppet.
func dropRights(p *tracee.Puppet) error {
	at, _ := p.Data()
	buf := binary.LittleEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	buf = append(binary.LittleEndian.AppendUint32(buf, 0), capData(0, 0, 0)...)
	if err := p.Write(at, buf); err != nil {
		return err
	}
	var calls []tracee.Call
	for c := range uint64(lastCap + 1) {
		calls = append(calls, tracee.Sys(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c))
	}
	calls = append(calls, tracee.Sys(unix.SYS_CAPSET, uint64(at), uint64(at)+8))
	if _, err := p.Batch(calls); err != nil {
		return err
	}
	for _, c := range calls {
		// Numbers that this kernel has no capability for.
		if err := c.Err(); err != nil && !(c.Nr == unix.SYS_PRCTL && errors.Is(err, unix.EINVAL)) {
			return fmt.Errorf("drop rights: call %d (%d): %w", c.Nr, c.Args[1], err)
		}
	}
	return nil
}

// auditReaper looks at number 1 of a world as at a phantom.
func (w *World) auditReaper(theirs *estate, home map[string]uint64) error {
	reaper := w.phantoms[0].reaper
	if reaper == nil {
		return nil
	}
	if err := w.auditBounds(reaper.PID); err != nil {
		return err
	}
	return auditProcess(reaper.PID, theirs, home)
}
