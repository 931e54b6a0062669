package procfs

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"slices"
	"syscall"
)

// numbers lists the entries of a directory that are numbers, ascending. Unlike
// os.ReadDir it makes no string of a name: it runs while production is stopped.
func numbers(dir string) ([]int, error) {
	fd, err := uninterrupted(func() (int, error) {
		return syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer syscall.Close(fd)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = slices.Grow((*buf)[:0], bufferSize)
	out := []int{}
	for {
		n, err := uninterrupted(func() (int, error) { return syscall.ReadDirent(fd, (*buf)[:cap(*buf)]) })
		if err != nil {
			return nil, &fs.PathError{Op: "readdirent", Path: dir, Err: err}
		}
		if n == 0 {
			slices.Sort(out)
			return out, nil
		}
		out = appendNumbers(out, (*buf)[:n])
	}
}

// direntName is the offset of the name in a struct linux_dirent64, getdents(2).
const direntName = 19

// appendNumbers appends the names in entries, as getdents64(2) fills them in,
// that are decimal numbers.
func appendNumbers(out []int, entries []byte) []int {
	for len(entries) > direntName {
		size := int(binary.NativeEndian.Uint16(entries[16:]))
		if size <= direntName || size > len(entries) {
			return out // the kernel never does this
		}
		name, _, _ := bytes.Cut(entries[direntName:size], []byte{0})
		if n, ok := number(name); ok {
			out = append(out, n)
		}
		entries = entries[size:]
	}
	return out
}

// number parses a name of the kernel's: digits, few enough for any id.
func number(name []byte) (n int, ok bool) {
	if len(name) == 0 || len(name) > 18 {
		return 0, false
	}
	for _, c := range name {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
