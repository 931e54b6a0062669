//go:build linux

package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
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

// descriptors captures every open file description of every member.
func (t *taking) descriptors(deadline time.Time) (all []*kobj.Description, err error) {
	groups := map[identity][]seen{}
	if t.unix, err = sys.OpenUnixDiag(); err != nil {
		return nil, err
	}
	defer t.unix.Close()
	for _, p := range t.snap.Processes {
		pidfd, err := sys.PidfdOpen(p.Member.PID)
		if err != nil {
			return nil, err
		}
		fds, err := procfs.FDs(p.Member.PID)
		for _, fd := range fds {
			if err != nil {
				break
			}
			if time.Now().After(deadline) {
				err = fmt.Errorf("member %s: reading %d descriptors took too long", p.Member.Name, len(fds))
				break
			}
			var d *kobj.Description
			if d, err = t.descriptor(groups, p, pidfd, fd); d != nil {
				all = append(all, d)
			}
		}
		_ = pidfd.Close()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("member %s: %w", p.Member.Name, err), drainOnly(all))
		}
	}
	inside, outside, err := kobj.Drain(all)
	t.snap.Pause.Objects = len(all)
	t.snap.Pause.Connections, t.snap.Pause.Outside = inside, outside
	return all, err
}

// drainOnly lets go of the duplicates that captured connections hold.
func drainOnly(all []*kobj.Description) error {
	_, _, err := kobj.Drain(all)
	return err
}

// descriptor captures one descriptor. It returns nil when the description
// behind it is known already.
func (t *taking) descriptor(groups map[identity][]seen, p *Process, pidfd sys.FD, fd int) (*kobj.Description, error) {
	src := &kobj.Source{Member: p.Index, PID: p.Member.PID, FD: fd, Unix: t.unix}
	var err error
	if src.Link, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", src.PID, fd)); err != nil {
		return nil, err
	}
	if src.Info, err = procfs.ReadFDInfo(src.PID, fd); err != nil {
		return nil, err
	}
	if src.Dup, err = sys.PidfdGetFD(pidfd, fd); err != nil {
		return nil, err
	}
	defer src.Dup.Close()
	if err := unix.Fstat(int(src.Dup), &src.Stat); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	id := identity{src.Stat.Dev, src.Stat.Ino, src.Info.Pos, src.Info.Flags &^ unix.O_CLOEXEC, src.Link}
	for _, s := range groups[id] {
		same := strings.HasPrefix(src.Link, "socket:")
		if !same {
			if same, err = sys.SameFile(s.pid, s.fd, src.PID, fd); err != nil {
				return nil, err
			}
		}
		if same {
			s.d.Share(src)
			return nil, nil
		}
	}
	d, err := kobj.Capture(src)
	if err != nil {
		return nil, err
	}
	groups[id] = append(groups[id], seen{d, src.PID, fd})
	return d, nil
}

// deletedFiles finds open regular files without a name. The image needs their
// bytes; the result maps a path to read them by to their key.
func deletedFiles(pid int) map[string]string {
	found := map[string]string{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		link, err := os.Readlink(path)
		if err != nil || !strings.HasSuffix(link, " (deleted)") || strings.HasPrefix(link, "/memfd:") {
			continue
		}
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			found[path] = kobj.DeletedKey(st.Dev, st.Ino)
		}
	}
	return found
}
