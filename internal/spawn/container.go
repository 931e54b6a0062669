//go:build linux

package spawn

import (
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
//	            │ ├ entry       enters the world, and ends
//	            └ stem          is in the outer namespace
//	               └ phantom    is in the inner one
//
// Entry and stem are made as siblings of the seed. So the helper reaps them, also
// when the agent has died: orphans of processes in the container would fall to
// its number 1, which may be production. An orphan of a stem falls to init.

// containerOf returns the namespaces of a member that is in another pid or user
// namespace than the agent, nil for others. The check of a run has made sure that
// all are in the same.
func containerOf(pid int) (map[string]uint64, error) {
	theirs, err := procfs.Namespaces(pid)
	if err != nil {
		return nil, err
	}
	ours, err := procfs.Namespaces(os.Getpid())
	if theirs["pid"] == ours["pid"] && theirs["user"] == ours["user"] {
		return nil, err
	}
	return theirs, err
}

// forkContained makes the phantoms of a world with two pid namespaces.
func (w *World) forkContained() error {
	// Number 1 comes first: the kernel gives no other number before.
	order := slices.Clone(w.snap.Processes)
	slices.SortStableFunc(order, func(a, b *capture.Process) int {
		return min(a.Number(a.Member.PID), 2) - min(b.Number(b.Member.PID), 2)
	})
	_ = w.tracer.Do(w.attend)
	for _, p := range order {
		if err := w.forkOne(p, (*phantom).forkContained); err != nil {
			return err
		}
	}
	return w.tracer.Do(w.numberInit)
}

// attend has those collected that end with the container, and not by us: it is at
// an end only then.
func (w *World) attend() error {
	w.leave = w.snap.Attend(func() (over bool) {
		for _, ph := range w.phantoms {
			puppets := []*tracee.Puppet{ph.entry, ph.reaper}
			if !ph.running {
				puppets = append(append(puppets, ph.threads...), ph.lead)
			}
			for _, p := range puppets {
				if p != nil {
					p.Heed()
				}
			}
			over = ph.stem != nil && ph.stem.Heed() || over
		}
		return over && !w.Closing()
	})
	return nil
}

func (ph *phantom) forkContained(w *World) (err error) {
	if ph.entry, err = ph.process.Seed.Fork(unix.CLONE_PARENT, 0); err != nil {
		return err
	}
	if err := w.admit(ph.entry); err != nil {
		return err
	}
	if err := fault.StemForked.Hit(); err != nil {
		return err
	}
	// The user namespace first: it gives the rights to enter the others.
	if err := enter(ph.entry, w.init.PID(), "user", "mnt", "net", "ipc", "uts", "pid"); err != nil {
		return fmt.Errorf("enter the world: %w", err)
	}
	if err := fault.WorldEntered.Hit(); err != nil {
		return err
	}
	if ph.stem, err = ph.entry.Fork(unix.CLONE_PARENT, 0); err != nil {
		return err
	}
	if err := errors.Join(ph.endEntry(), fault.EntryEnded.Hit()); err != nil {
		return err
	}
	if err := ph.reachInner(w.phantoms[0]); err != nil {
		return fmt.Errorf("enter the world's process numbers: %w", err)
	}
	if err := fault.NumbersEntered.Hit(); err != nil {
		return err
	}
	return ph.forkLead()
}

// enter moves a puppet without descriptors into namespaces of process pid, by
// their descriptors. By that of the process it would need the right to look at
// it, which nobody in the container shall have.
func enter(p *tracee.Puppet, pid int, kinds ...string) error {
	pidfd, err := sys.PidfdOpen(p.PID)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	box, err := newMailbox(p, pidfd, 0)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err == nil {
			err = box.lend(sys.FD(space.Fd()), func(number uint64) error {
				return p.Do(tracee.Sys(unix.SYS_SETNS, number, 0))
			})
			_ = space.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s namespace: %w", kind, err), box.close())
		}
	}
	return box.close()
}

// reachInner makes the children of the stem be born in the inner pid namespace.
func (ph *phantom) reachInner(first *phantom) error {
	if ph != first {
		return enter(ph.stem, first.numberOne().PID, "pid")
	}
	if err := ph.stem.Do(tracee.Sys(unix.SYS_UNSHARE, unix.CLONE_NEWPID)); err != nil {
		return err
	}
	if ph.number() == 1 {
		return nil
	}
	return ph.makeReaper()
}

// numberOne is the first process of the inner pid namespace, which the first
// phantom has.
func (ph *phantom) numberOne() *tracee.Puppet {
	if ph.reaper != nil {
		return ph.reaper
	}
	return ph.lead
}

// endEntry ends the process that has entered the world.
func (ph *phantom) endEntry() error {
	if ph.entry == nil {
		return nil
	}
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
	return errors.Join(w.init.Number(space, proc), fault.WorldNumbered.Hit())
}

// auditContainer makes sure that the namespaces of users and process numbers are
// in those of the members, and that with the init's pid namespace the kernel ends
// that of the phantoms. That cannot change, and is looked at before anything runs.
func (w *World) auditContainer(home map[string]uint64) error {
	if w.numbers != 0 {
		return nil
	}
	one, init := w.phantoms[0].numberOne().PID, w.init.PID()
	for _, s := range []struct {
		kind   string
		of     int
		parent uint64
	}{{"pid", one, home["pid"]}, {"pid", init, w.container["pid"]}, {"user", init, w.container["user"]}} {
		parent, err := sys.ParentNamespace(s.of, s.kind)
		if err != nil {
			return err
		}
		if parent != s.parent {
			return fmt.Errorf("the %s namespace of pid %d is not where it should be", s.kind, s.of)
		}
	}
	var err error
	w.numbers, err = procfs.Namespace(one, "pid")
	return err
}
