//go:build linux

package spawn

import (
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// ErrUnsealed means that a phantom shares something with production. It must
// not run.
var ErrUnsealed = errors.New("the world is not sealed")

// audit looks at the finished phantoms from outside, without regard to how
// they were made: no open file description, no writable shared mapping, no
// namespace and no control group may be production's.
func (w *World) audit() error {
	theirs, err := w.production()
	if err != nil {
		return err
	}
	home, err := procfs.Namespaces(w.init.PID())
	if err != nil {
		return err
	}
	if err := w.auditBounds(w.init.PID()); err != nil {
		return fmt.Errorf("%w: the world's init: %w", ErrUnsealed, err)
	}
	for _, ph := range w.phantoms {
		name := ph.process.Member.Name
		for _, p := range []*tracee.Puppet{ph.stem, ph.lead} {
			if err := w.auditBounds(p.PID); err != nil {
				return fmt.Errorf("%w: member %s: %w", ErrUnsealed, name, err)
			}
		}
		if err := auditMaps(ph.lead.PID, theirs); err != nil {
			return fmt.Errorf("%w: member %s: %w", ErrUnsealed, name, err)
		}
		if err := auditFDs(ph.lead.PID, theirs); err != nil {
			return fmt.Errorf("%w: member %s: %w", ErrUnsealed, name, err)
		}
		spaces, err := procfs.Namespaces(ph.lead.PID)
		if err != nil {
			return err
		}
		for _, ns := range []string{"user", "mnt", "net", "ipc", "uts", "pid"} {
			if spaces[ns] != home[ns] || spaces[ns] == theirs.spaces[ns] {
				return fmt.Errorf("%w: member %s is not in the world's %s namespace", ErrUnsealed, name, ns)
			}
		}
	}
	return nil
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
	vmas, err := procfs.Smaps(pid)
	if err != nil {
		return err
	}
	for _, v := range vmas {
		if v.Shared && v.Inode != 0 && v.Has("mw") && theirs.mapped[inode{v.Dev, v.Inode}] {
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
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), &st); err != nil {
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
