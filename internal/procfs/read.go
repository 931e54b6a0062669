package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// buffers holds what files are read into, of at least bufferSize bytes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const bufferSize = 32 << 10

// path returns /proc/PID/name.
func path(pid int, name string) string {
	b := make([]byte, 0, 48)
	b = append(b, "/proc/"...)
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, '/')
	return string(append(b, name...))
}

// parsed reads a file and parses its bytes, which parse must not retain.
func parsed[T any](name string, parse func([]byte) (T, error)) (val T, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf, err = slurp(name, (*buf)[:0])
	if err != nil {
		return val, err
	}
	if val, err = parse(*buf); err != nil {
		return val, fmt.Errorf("parse %s: %w", name, err)
	}
	return val, nil
}

// slurp appends a whole file to buf. It does without os.File, which would ask
// the poller about a file that cannot be polled.
func slurp(name string, buf []byte) ([]byte, error) {
	fd, err := uninterrupted(func() (int, error) {
		return syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return buf, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(fd)
	for {
		if cap(buf)-len(buf) < bufferSize/8 {
			buf = slices.Grow(buf, max(bufferSize, cap(buf)))
		}
		n, err := uninterrupted(func() (int, error) { return syscall.Read(fd, buf[len(buf):cap(buf)]) })
		if err != nil {
			return buf, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// uninterrupted repeats a system call that a signal has interrupted.
func uninterrupted(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != syscall.EINTR {
			return n, err
		}
	}
}

// missing reports whether a file of the kernel is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
