//go:build linux

package kobj

import (
	"errors"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// memfd is a file without a place, memfd_create(2). Its bytes are copied while
// production is stopped.
type memfd struct{}

// MaxMemory bounds the bytes of shared memory that are copied in the pause.
const MaxMemory = 64 << 20

var errTooBig = errors.New("more than 64 MiB of shared memory")

type memfdState struct {
	ino  uint64
	name string
	size int64
	data []byte
	seal int // F_GET_SEALS
}

func (memfd) Name() string { return "memfd" }

func (memfd) Match(src *Source) bool { return strings.HasPrefix(src.Link, "/memfd:") }

func (memfd) Capture(src *Source) (any, error) {
	st := memfdState{ino: src.Stat.Ino, size: src.Stat.Size}
	st.name = strings.TrimSuffix(strings.TrimPrefix(src.Link, "/memfd:"), " (deleted)")
	if st.size > MaxMemory {
		return nil, errTooBig
	}
	var err error
	if st.seal, err = unix.FcntlInt(uintptr(src.Dup), unix.F_GET_SEALS, 0); err != nil {
		return nil, os.NewSyscallError("fcntl get_seals", err)
	}
	st.data = make([]byte, st.size)
	for off := 0; off < len(st.data); {
		n, err := unix.Pread(int(src.Dup), st.data[off:], int64(off))
		if err != nil {
			return nil, os.NewSyscallError("pread", err)
		}
		if n == 0 {
			break
		}
		off += n
	}
	return st, nil
}

func (memfd) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(memfdState)
	base, ok := w.memfds[st.ino]
	if !ok {
		fd, err := unix.MemfdCreate(st.name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return -1, os.NewSyscallError("memfd_create", err)
		}
		base = sys.FD(fd)
		w.memfds[st.ino] = base
		w.keep = append(w.keep, base)
		if _, err := unix.Pwrite(fd, st.data, 0); err != nil {
			return -1, os.NewSyscallError("pwrite", err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, st.seal); err != nil {
			return -1, os.NewSyscallError("fcntl add_seals", err)
		}
	}
	return reopen(base, d)
}

// Backing opens what the world has in the place of a file without a name that
// is both open and mapped: a memfd, or a deleted file. ok is false when no
// descriptor of the snapshot refers to it.
func (w *World) Backing(dev, ino uint64) (fd sys.FD, ok bool, err error) {
	if base, ok := w.memfds[ino]; ok {
		n, err := unix.FcntlInt(uintptr(base), unix.F_DUPFD_CLOEXEC, 3)
		return sys.FD(n), true, os.NewSyscallError("fcntl", err)
	}
	if path, ok := w.Deleted[DeletedKey(dev, ino)]; ok {
		fd, err := openOnHost(path, unix.O_RDWR)
		return fd, true, err
	}
	return -1, false, nil
}
