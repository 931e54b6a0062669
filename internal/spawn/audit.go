//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// ErrUnsealed means that something of a world is production's, or can reach it.
// The world must not run.
var ErrUnsealed = errors.New("the world is not sealed")

// Audit looks at the world from outside, without regard to how it was made. It
// is done before anything runs, and may be done again at any time.
func (w *World) Audit() error {
	theirs, err := w.production()
	if err != nil {
		return err
	}
	home, err := procfs.Namespaces(w.init.PID())
	if err != nil {
		return err
	}
	if w.container != nil {
		if err := w.auditContainer(home); err != nil {
			return fmt.Errorf("%w: %w", ErrUnsealed, err)
		}
		home["pid"] = w.numbers
		if err := w.auditReaper(theirs, home); err != nil {
			return fmt.Errorf("%w: number 1: %w", ErrUnsealed, err)
		}
	}
	if err := w.auditMounts(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsealed, err)
	}
	if err := w.auditBounds(w.init.PID()); err != nil {
		return fmt.Errorf("%w: the world's init: %w", ErrUnsealed, err)
	}
	for _, ph := range w.phantoms {
		if ph.ended() {
			continue
		}
		err := w.auditBounds(ph.stem.PID)
		if err == nil {
			err = w.auditBounds(ph.lead.PID)
		}
		if err == nil {
			err = auditProcess(ph.lead.PID, theirs, home)
		}
		if err == nil {
			err = auditProgram(ph.process, ph.lead.PID)
		}
		if err != nil && !ph.ended() {
			return fmt.Errorf("%w: member %s: %w", ErrUnsealed, ph.process.Member.Name, err)
		}
	}
	return nil
}

// auditBuilt is Audit for a world in which nothing has run yet: each thread must
// be who its origin is.
func (w *World) auditBuilt() error {
	for _, ph := range w.phantoms {
		if err := auditCredentials(ph); err != nil {
			return fmt.Errorf("%w: member %s: %w", ErrUnsealed, ph.process.Member.Name, err)
		}
	}
	return w.Audit()
}

// auditProcess finds what a process has in common with production: an open file
// description, a writable shared mapping, a namespace; and what it has that
// nothing in a world may have.
func auditProcess(pid int, theirs *estate, home map[string]uint64) error {
	if err := auditMaps(pid, theirs); err != nil {
		return err
	}
	if err := auditFDs(pid, theirs); err != nil {
		return err
	}
	spaces, err := procfs.Namespaces(pid)
	if err != nil {
		return err
	}
	for _, ns := range []string{"user", "mnt", "net", "ipc", "uts", "pid"} {
		if spaces[ns] != home[ns] || spaces[ns] == theirs.spaces[ns] {
			return fmt.Errorf("it is not in the world's %s namespace", ns)
		}
	}
	return auditPowers(pid)
}

// auditPowers makes sure that no thread has a capability that reaches out of the
// world, makes calls without the world's filter, or has real-time priority, and that
// no program of the host is started for a core dump.
func auditPowers(pid int) error {
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		s, err := procfs.ReadStatus(tid)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // it has ended
			}
			return err
		}
		all := s.CapEff | s.CapPrm | s.CapInh | s.CapAmb | s.CapBnd
		if extra := all &^ without(all, forbidden); extra != 0 {
			return fmt.Errorf("thread %d has capabilities %#x", tid, extra)
		}
		if s.Seccomp != unix.SECCOMP_MODE_FILTER {
			return fmt.Errorf("thread %d makes calls without a filter", tid)
		}
		if err := auditPriority(tid); err != nil {
			return err
		}
	}
	core, err := procfs.HardLimit(pid, procfs.LimitCore)
	if err != nil {
		return err
	}
	if core > 1 {
		return errors.New("it may dump core")
	}
	return nil
}

// own are the file systems that a world has for itself, and may write to.
var own = []string{"overlay", "tmpfs", "devpts", "mqueue"}

// auditMounts finds what the world could write to and does not own.
func (w *World) auditMounts() error {
	mounts, err := procfs.Mountinfo(w.init.PID())
	if err != nil {
		return err
	}
	for _, m := range mounts {
		switch {
		case m.ReadOnly(), slices.Contains(own, m.FSType):
		case m.FSType == "proc" && m.Point == "/proc":
		case w.isData(m.Point):
		default:
			return fmt.Errorf("%s on %s is writable", m.FSType, m.Point)
		}
	}
	return nil
}

// isData reports whether a copy of data is mounted on point.
func (w *World) isData(point string) bool {
	if w.Tree == nil {
		return false
	}
	there, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", w.init.PID(), point))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(w.Tree.Roots, func(r image.Root) bool {
		copied, err := os.Stat(r.Path)
		return err == nil && os.SameFile(copied, there)
	})
}

// inode names what a descriptor or a mapping refers to.
type inode struct{ dev, ino uint64 }

// estate is what production holds.
type estate struct {
	mapped map[inode]bool
	open   map[inode][]holding
	spaces map[string]uint64
}

type holding struct{ pid, fd int }

func (w *World) production() (*estate, error) {
	e := &estate{mapped: map[inode]bool{}, open: map[inode][]holding{}}
	for _, p := range w.snap.Processes {
		if p.Origin.Ended() {
			continue // it shares nothing with anybody any more
		}
		pid := p.Member.PID
		vmas, err := procfs.Maps(pid)
		if err != nil {
			return nil, err
		}
		for _, v := range vmas {
			if v.Shared && v.Inode != 0 {
				e.mapped[inode{v.Dev, v.Inode}] = true
			}
		}
		fds, err := procfs.FDs(pid)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			var st unix.Stat_t
			if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st); err != nil {
				continue // closed meanwhile: production runs
			}
			id := inode{st.Dev, st.Ino}
			e.open[id] = append(e.open[id], holding{pid, fd})
		}
		if e.spaces, err = procfs.Namespaces(pid); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func auditMaps(pid int, theirs *estate) error {
	same := func(v procfs.VMA) bool { return v.Shared && v.Inode != 0 && theirs.mapped[inode{v.Dev, v.Inode}] }
	vmas, err := procfs.Maps(pid)
	if err != nil || !slices.ContainsFunc(vmas, same) {
		return err
	}
	// Whether it may be written to, or may come to be, only this file tells, for which
	// the kernel walks all memory.
	if vmas, err = procfs.Smaps(pid); err != nil {
		return err
	}
	for _, v := range vmas {
		if same(v) && v.Has("mw") {
			return fmt.Errorf("mapping %#x %s is shared with production", v.Start, v.Path)
		}
	}
	return nil
}

func auditFDs(pid int, theirs *estate) error {
	fds, err := procfs.FDs(pid)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st); errors.Is(err, unix.ENOENT) {
			continue // closed meanwhile: the world runs
		} else if err != nil {
			return fmt.Errorf("fd %d: %w", fd, err)
		}
		for _, h := range theirs.open[inode{st.Dev, st.Ino}] {
			same, err := sys.SameFile(pid, fd, h.pid, h.fd)
			if err != nil && !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.ESRCH) {
				return err
			}
			if same {
				return fmt.Errorf("fd %d is fd %d of pid %d", fd, h.fd, h.pid)
			}
		}
	}
	return nil
}
