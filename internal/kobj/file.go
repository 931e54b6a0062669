//go:build linux

package kobj

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// file is a regular file, a directory or a harmless character device, opened
// again by its path, which leads to the world's copy of data directories.
type file struct{}

type fileState struct {
	path    string
	deleted bool
	key     string
	mode    uint32
}

// safeDevices are the character devices (major 1) that hold no state.
var safeDevices = map[uint64]string{
	unix.Mkdev(1, 3): "/dev/null",
	unix.Mkdev(1, 5): "/dev/zero",
	unix.Mkdev(1, 7): "/dev/full",
	unix.Mkdev(1, 8): "/dev/random",
	unix.Mkdev(1, 9): "/dev/urandom",
}

func (file) Name() string { return "file" }

func (file) Match(src *Source) bool {
	switch src.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return strings.HasPrefix(src.Link, "/") && !src.isMqueue()
	case unix.S_IFCHR:
		return safeDevices[src.Stat.Rdev] != ""
	}
	return false
}

// isMqueue tells POSIX message queues, which look like files in the root directory.
func (src *Source) isMqueue() bool {
	const mqueueMagic = 0x19800202 // ipc/mqueue.c
	var fs unix.Statfs_t
	return unix.Fstatfs(int(src.Dup), &fs) == nil && fs.Type == mqueueMagic
}

// DeletedKey names a file that has no path any more.
func DeletedKey(dev, ino uint64) string { return fmt.Sprintf("%d-%d", dev, ino) }

func (file) Capture(src *Source) (any, error) {
	st := fileState{path: src.Link, mode: src.Stat.Mode & unix.S_IFMT}
	switch {
	case st.mode == unix.S_IFCHR:
		st.path = safeDevices[src.Stat.Rdev]
	case src.Stat.Nlink == 0:
		st.deleted = true
		st.path = strings.TrimSuffix(src.Link, " (deleted)")
		st.key = DeletedKey(src.Stat.Dev, src.Stat.Ino)
	}
	return st, nil
}

// once are the flags that acted when the file was opened and must not act again.
const once = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_NOCTTY

func (file) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(fileState)
	writes := d.Flags&unix.O_ACCMODE != unix.O_RDONLY
	var fd sys.FD
	var err error
	switch {
	case st.deleted:
		copied, ok := w.Deleted[st.key]
		if !ok {
			return w.anonymous(d, "a deleted file whose bytes were not kept")
		}
		fd, err = openOnHost(copied, d.Flags)
	case st.mode == unix.S_IFREG && writes && !w.Writable(st.path):
		return w.output(d, st.path+", outside its data directories,")
	default:
		fd, err = openInside(st.path, d.Flags)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(st.path, "/proc/") {
			w.Gap(d, st.path+" is empty: it tells of a process or a thread that the world does not have yet")
			return openInside(os.DevNull, d.Flags)
		}
	}
	if err != nil {
		return -1, err
	}
	if st.mode == unix.S_IFREG && d.Pos != 0 && d.Flags&unix.O_PATH == 0 {
		if _, err := unix.Seek(int(fd), d.Pos, unix.SEEK_SET); err != nil {
			_ = fd.Close()
			return -1, os.NewSyscallError("lseek", err)
		}
	}
	return fd, nil
}

// openInside opens path as the world has it.
func openInside(path string, flags int) (sys.FD, error) {
	fd, err := unix.Open(path, (flags&^once)|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return sys.FD(fd), nil
}

// output sends what a member writes to a place outside its data to its log of
// the world instead. what says where it was going.
func (w *World) output(d *Description, what string) (sys.FD, error) {
	f, err := w.Output(d.Holders[0].Member)
	if err != nil {
		return -1, err
	}
	w.Gap(d, "what it writes to "+what+" goes to the world's log instead")
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	return sys.FD(fd), os.NewSyscallError("fcntl", err)
}

func (w *World) anonymous(d *Description, why string) (sys.FD, error) {
	w.Gap(d, why)
	fd, err := unix.MemfdCreate("pilot-deleted", unix.MFD_CLOEXEC)
	return sys.FD(fd), os.NewSyscallError("memfd_create", err)
}

// takeLocks locks the new description as the old one was. Locks that belong to
// a process instead (POSIX) are taken by the phantom.
func (d *Description) takeLocks(fd sys.FD) error {
	for _, l := range d.Locks {
		switch l.Kind {
		case "FLOCK":
			how := unix.LOCK_SH
			if l.Type == "WRITE" {
				how = unix.LOCK_EX
			}
			if err := unix.Flock(int(fd), how|unix.LOCK_NB); err != nil {
				return os.NewSyscallError("flock", err)
			}
		case "OFDLCK":
			fl := Flock(l)
			if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &fl); err != nil {
				return os.NewSyscallError("fcntl ofd_setlk", err)
			}
		}
	}
	return nil
}

// FilePath returns the path of a description that is a file with a name.
func FilePath(d *Description) (string, bool) {
	st, ok := d.State.(fileState)
	return st.path, ok && !st.deleted && st.mode == unix.S_IFREG
}

// Flock is a lock in the form of fcntl_locking(2).
func Flock(l procfs.Lock) unix.Flock_t {
	f := unix.Flock_t{Type: unix.F_RDLCK, Start: l.Start}
	if l.Type == "WRITE" {
		f.Type = unix.F_WRLCK
	}
	if l.End >= 0 { // otherwise to the end of the file
		f.Len = l.End - l.Start + 1
	}
	return f
}
