//go:build linux

package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A world of members in a container has two pid namespaces, one in the other,
// below the container's. Init and the stems are in the outer one, and the inner
// one has what the world's processes see: the numbers of the container, its
// number 1 included. With init the kernel ends both.
//
//	origin - helper - seed
//	            │       └ entry   enters the outer one, and ends
//	            └ stem            is in the outer one
//	                └ phantom     is in the inner one
//
// Entry and stem are made as siblings of the seed. So the helper reaps them, also
// when the agent has died: orphans of processes in the container would fall to
// its number 1, which may be production. An orphan of a stem falls to init.

// contained reports whether the members are in another pid or user namespace
// than the agent. The check of a run has made sure that it is the same one.
func contained(pid int) (bool, error) {
	theirs, err := procfs.Namespaces(pid)
	if err != nil {
		return false, err
	}
	ours, err := procfs.Namespaces(os.Getpid())
	return theirs["pid"] != ours["pid"] || theirs["user"] != ours["user"], err
}

// within returns the member by which the namespaces of the members are found, 0
// when they are the agent's: one of the user that the world shall belong to.
func within(snap *capture.Snapshot, owner int) (int, error) {
	for _, p := range snap.Processes {
		if p.Status[p.Member.PID].UIDs[1] != owner && p != snap.Processes[len(snap.Processes)-1] {
			continue
		}
		inside, err := contained(p.Member.PID)
		if err != nil || !inside {
			return 0, err
		}
		return p.Member.PID, nil
	}
	return 0, nil
}

// forkContained forks all phantoms into a world of two pid namespaces.
func (w *World) forkContained() error {
	// Number 1 comes first: the kernel gives no other number before.
	order := slices.Clone(w.snap.Processes)
	slices.SortStableFunc(order, func(a, b *capture.Process) int {
		return min(a.Number(a.Member.PID), 2) - min(b.Number(b.Member.PID), 2)
	})
	for _, p := range order {
		ph := &phantom{process: p, pidfd: -1}
		w.phantoms = append(w.phantoms, ph)
		if err := w.tracer.Do(func() error { return ph.forkContained(w) }); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	return w.tracer.Do(w.numberInit)
}

func (ph *phantom) forkContained(w *World) (err error) {
	if ph.entry, err = ph.process.Seed.Fork(unix.CLONE_PARENT, 0); err != nil {
		return err
	}
	if err := fault.StemForked.Hit(); err != nil {
		return err
	}
	number, err := tracee.Number(w.init.PID(), ph.entry.PID)
	if err != nil {
		return err
	}
	if err := enter(ph.entry, number, worldSpaces); err != nil {
		return fmt.Errorf("enter the world: %w", err)
	}
	if err := fault.WorldEntered.Hit(); err != nil {
		return err
	}
	if ph.stem, err = ph.entry.Fork(unix.CLONE_PARENT, 0); err != nil {
		return err
	}
	if err := ph.endEntry(); err != nil {
		return err
	}
	if err := ph.stem.Block(); err != nil {
		return err
	}
	number = ph.process.Number(ph.process.Member.PID)
	if err := ph.reachInner(w, number); err != nil {
		return fmt.Errorf("enter the world's process numbers: %w", err)
	}
	return ph.forkLead(number)
}

// reachInner makes the children of the stem be born in the inner pid namespace.
func (ph *phantom) reachInner(w *World, number int) error {
	first := w.phantoms[0]
	if ph != first {
		number, err := tracee.Number(first.numberOne().PID, ph.stem.PID)
		if err != nil {
			return err
		}
		return enter(ph.stem, number, unix.CLONE_NEWPID)
	}
	if err := ph.stem.Do(tracee.Sys(unix.SYS_UNSHARE, unix.CLONE_NEWPID)); err != nil {
		return err
	}
	if number == 1 {
		return nil
	}
	return ph.makeReaper()
}

// numberOne is the first process of the inner pid namespace.
func (ph *phantom) numberOne() *tracee.Puppet {
	if ph.reaper != nil {
		return ph.reaper
	}
	return ph.lead
}

// makeReaper makes number 1 of a world that has no phantom with this number. It
// never runs: it ignores the ends of children, so that the kernel reaps the
// orphans that fall to it. It stays a tracee, and with the agent ends itself and
// all others.
func (ph *phantom) makeReaper() (err error) {
	if ph.reaper, err = ph.stem.Fork(0, 1); err != nil {
		return err
	}
	if err := ph.reaper.Block(); err != nil {
		return err
	}
	at, _ := ph.reaper.Data()
	ignore := make([]byte, 32) // struct sigaction of the kernel: its handler is first
	ignore[0] = 1              // SIG_IGN
	if err := ph.reaper.Write(at, ignore); err != nil {
		return err
	}
	if err := ph.reaper.Do(
		tracee.Sys(unix.SYS_RT_SIGACTION, uint64(unix.SIGCHLD), uint64(at), 0, 8),
		tracee.Sys(unix.SYS_SETSID),
		tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0),
	); err != nil {
		return err
	}
	if err := ph.reaper.noCore(); err != nil {
		return err
	}
	if err := ph.reaper.filter(); err != nil {
		return err
	}
	// No right is left to it, and no memory but the workshop: it had that of
	// its origin, some of it shared.
	buf := append([]byte{0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0}, capData(0, 0, 0)...) // _LINUX_CAPABILITY_VERSION_3
	if err := ph.reaper.Write(at, buf); err != nil {
		return err
	}
	return nil
}

// endEntry ends the process that has entered the world.
func (ph *phantom) endEntry() error {
	entry := ph.entry
	ph.entry = nil
	return errors.Join(entry.Kill(), entry.WaitGone(), ph.process.Origin.Reap(entry.PID))
}

// numberInit gives the world's init the inner pid namespace, and a procfs of it:
// that shows the numbers of who makes it.
func (w *World) numberInit() error {
	first := w.phantoms[0]
	at, _ := first.lead.Data()
	if err := first.lead.Write(at, append([]byte("proc"), 0)); err != nil {
		return err
	}
	const create, cloexec = 6, 1 // FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC, include/uapi/linux/mount.h
	const flags = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	// Its descriptor table is empty.
	if err := first.lead.Do(
		tracee.Sys(unix.SYS_FSOPEN, uint64(at), cloexec),
		tracee.Sys(unix.SYS_FSCONFIG, 0, create, 0, 0, 0),
		tracee.Sys(unix.SYS_FSMOUNT, 0, cloexec, flags),
	); err != nil {
		return fmt.Errorf("make /proc: %w", err)
	}
	fd, err := sys.PidfdGetFD(first.pidfd, 1)
	if err != nil {
		return err
	}
	proc := os.NewFile(uintptr(fd), "proc")
	defer proc.Close()
	if err := first.lead.Do(tracee.Sys(unix.SYS_CLOSE, 0), tracee.Sys(unix.SYS_CLOSE, 1)); err != nil {
		return err
	}
	space, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", first.numberOne().PID))
	if err != nil {
		return err
	}
	defer space.Close()
	return w.init.Number(space, proc)
}

// auditNumbers makes sure that the inner pid namespace is the world's: a child of
// that in which the init is number 1, with whose end it ends. It returns its
// identity.
func (w *World) auditNumbers() (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", w.phantoms[0].numberOne().PID))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	inner, err := procfs.Namespace(w.phantoms[0].numberOne().PID, "pid")
	if err != nil {
		return 0, err
	}
	_ = bytes.MinRead
	return inner, nil
}
