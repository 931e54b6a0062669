//go:build linux

package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// identity is what descriptors of one open file description have in common.
// Those that agree in it are told apart by kcmp(2).
type identity struct {
	dev, ino uint64
	pos      int64
	flags    int
	link     string
}

// seen is a description with the descriptor that it was first met at.
type seen struct {
	d       *kobj.Description
	pid, fd int
}

// A reading is the capture of the descriptors of all members.
type reading struct {
	limit   tracee.Limit
	drain   kobj.Drain
	known   map[place]*kobj.Known
	unix    sys.UnixDiag
	all     []*kobj.Description
	groups  map[identity][]seen
	deleted map[string]string // see [image.Image.Freeze]
}

// A place is a descriptor of a process.
type place struct{ pid, fd int }

// descriptors captures every open file description of every member.
func (t *taking) descriptors(limit tracee.Limit) (err error) {
	r := &reading{
		limit: limit, known: t.known, deleted: map[string]string{},
		drain:  kobj.Drain{Batch: t.batch, Over: limit.Err},
		groups: make(map[identity][]seen, len(t.known)),
		all:    make([]*kobj.Description, 0, len(t.known)),
	}
	if r.unix, err = sys.OpenUnixDiag(); err != nil {
		return err
	}
	defer r.unix.Close()
	for _, p := range t.snap.Processes {
		pidfd, err := sys.PidfdOpen(p.Member.PID)
		if err != nil {
			return err
		}
		defer pidfd.Close() // when the connections are drained
		if err := r.member(p, pidfd); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	if err := r.drain.Finish(); err != nil {
		return err
	}
	t.snap.Objects, t.deleted = r.all, r.deleted
	t.snap.Pause.Objects = len(r.all)
	t.snap.Pause.Connections, t.snap.Pause.Outside = r.drain.Inside, r.drain.Outside
	return nil
}

func (r *reading) member(p *Process, pidfd sys.FD) error {
	fds, err := procfs.FDs(p.Member.PID)
	if err != nil {
		return err
	}
	for i, fd := range fds {
		if err := r.limit.Err(); err != nil {
			return fmt.Errorf("read %d of %d descriptors: %w", i, len(fds), err)
		}
		src := &kobj.Source{Member: p.Index, PID: p.Member.PID, FD: fd, Unix: r.unix, PIDFD: pidfd}
		if err := r.descriptor(src); err != nil {
			return err
		}
	}
	return nil
}

// descriptor captures one descriptor.
func (r *reading) descriptor(src *kobj.Source) (err error) {
	if src.Dup, err = sys.PidfdGetFD(src.PIDFD, src.FD); err != nil {
		return err
	}
	defer src.Dup.Close()
	if err := unix.Fstat(int(src.Dup), &src.Stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	known := r.known[place{src.PID, src.FD}]
	same, err := known.Fill(src)
	if err != nil {
		return err
	}
	if !same {
		if err := r.ask(src); err != nil {
			return err
		}
	}
	id := identity{src.Stat.Dev, src.Stat.Ino, src.Info.Pos, src.Info.Flags &^ unix.O_CLOEXEC, src.Link}
	at, shared, err := r.share(id, src)
	if shared || err != nil {
		return err
	}
	capture := kobj.Capture
	if same {
		capture = known.Capture
	}
	d, err := capture(src)
	if err != nil {
		return err
	}
	r.groups[id] = slices.Insert(r.groups[id], at, seen{d, src.PID, src.FD})
	r.all = append(r.all, d)
	return r.drain.Add(d, src.Dup)
}

// ask reads what /proc tells of a descriptor.
func (r *reading) ask(src *kobj.Source) (err error) {
	if src.Link, err = procfs.FDLink(src.PID, src.FD); err != nil {
		return err
	}
	if src.Info, err = procfs.ReadFDInfo(src.PID, src.FD); err != nil {
		return err
	}
	if src.Stat.Mode&unix.S_IFMT == unix.S_IFREG && strings.HasSuffix(src.Link, " (deleted)") && !strings.HasPrefix(src.Link, "/memfd:") {
		r.deleted[fmt.Sprintf("/proc/%d/fd/%d", src.PID, src.FD)] = kobj.DeletedKey(src.Stat.Dev, src.Stat.Ino)
	}
	return nil
}

// share reports whether the description behind src is captured already, and
// adds src to its holders. Else it returns the place of src in its group, which
// is in kcmp's order: a process may have thousands of eventfds, which all look
// the same.
func (r *reading) share(id identity, src *kobj.Source) (at int, same bool, err error) {
	group := r.groups[id]
	if strings.HasPrefix(src.Link, "socket:") {
		same = len(group) > 0 // the inode tells
	} else {
		at, same = slices.BinarySearchFunc(group, src, func(s seen, src *kobj.Source) int {
			order, cerr := sys.CompareFile(s.pid, s.fd, src.PID, src.FD)
			err = errors.Join(err, cerr)
			return order
		})
	}
	if err == nil && same {
		group[at].d.Share(src)
	}
	return at, same, err
}

// know looks at the connections of all members while they run. Those that two
// looks agree on are read faster in the pause.
func (t *taking) know() error {
	now := map[place]*kobj.Known{}
	for _, p := range t.snap.Processes {
		if err := look(p.Member.PID, now); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	if t.known != nil {
		for at, k := range now {
			if !k.Agrees(t.known[at]) {
				delete(now, at)
			}
		}
	}
	t.known = now
	return nil
}

func look(pid int, into map[place]*kobj.Known) error {
	pidfd, err := sys.PidfdOpen(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	fds, err := procfs.FDs(pid)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		src := &kobj.Source{PID: pid, FD: fd}
		if src.Dup, err = sys.PidfdGetFD(pidfd, fd); err != nil {
			continue // closed meanwhile
		}
		if err = unix.Fstat(int(src.Dup), &src.Stat); err == nil {
			if k := kobj.Know(src); k != nil {
				into[place{pid, fd}] = k
			}
		}
		_ = src.Dup.Close()
		if err != nil {
			return os.NewSyscallError("fstat", err)
		}
	}
	return nil
}
