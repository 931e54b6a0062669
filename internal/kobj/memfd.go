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
}

func (memfd) Name() string { return "memfd" }

func (memfd) Match(src *Source) bool { return strings.HasPrefix(src.Link, "/memfd:") }

func (memfd) Capture(src *Source) (any, error) {
	st := memfdState{ino: src.Stat.Ino, size: src.Stat.Size}
	st.name = strings.TrimSuffix(strings.TrimPrefix(src.Link, "/memfd:"), " (deleted)")
	if st.size > MaxMemory {
		return nil, errTooBig
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
	}
	return reopen(base, d)
}
