//go:build linux

package victim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const memorySize = 256 << 10

// counted checks and advances a counter in each page of memory that the
// process believes to have for itself.
func counted(name string, mem []byte) step {
	n := uint64(0)
	return func() (string, error) {
		for at := 0; at < len(mem); at += 4096 {
			if got := binary.LittleEndian.Uint64(mem[at:]); got != n {
				return "", fmt.Errorf("%s: page %d holds %d, want %d", name, at/4096, got, n)
			}
			binary.LittleEndian.PutUint64(mem[at:], n+1)
		}
		n++
		return "", nil
	}
}

func mmap(fd, size, flags int) ([]byte, error) {
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	return mem, os.NewSyscallError("mmap", err)
}

func privateMemory(dir string) (step, error) {
	anon, err := mmap(-1, memorySize, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	f, err := sized(filepath.Join(dir, "private"))
	if err != nil {
		return nil, err
	}
	file, err := mmap(int(f.Fd()), memorySize, unix.MAP_PRIVATE)
	return all(counted("anonymous", anon), counted("file", file)), err
}

func sized(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	held = append(held, f)
	return f, f.Truncate(memorySize)
}

// dontFork is memory that fork leaves out, or clears.
func dontFork(string) (step, error) {
	var steps []step
	for _, advice := range []int{unix.MADV_DONTFORK, unix.MADV_WIPEONFORK} {
		mem, err := mmap(-1, memorySize, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, err
		}
		if err := unix.Madvise(mem, advice); err != nil {
			return nil, os.NewSyscallError("madvise", err)
		}
		steps = append(steps, counted(fmt.Sprintf("advice %d", advice), mem))
	}
	return all(steps...), nil
}

// sameMemory advances one mapping and looks at it through another, and through
// the file that both are of.
func sameMemory(name string, a, b []byte, fd int) step {
	advance := counted(name, a)
	return func() (string, error) {
		if note, err := advance(); err != nil {
			return note, err
		}
		if !bytes.Equal(a, b) {
			return "", fmt.Errorf("%s: two mappings of it differ", name)
		}
		got := make([]byte, len(a))
		if _, err := unix.Pread(fd, got, 0); err != nil {
			return "", os.NewSyscallError("pread", err)
		}
		if !bytes.Equal(a, got) {
			return "", fmt.Errorf("%s: its file and its mapping differ", name)
		}
		return "", nil
	}
}

func mapTwice(name string, fd int) (step, error) {
	a, err := mmap(fd, memorySize, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	b, err := mmap(fd, memorySize, unix.MAP_SHARED)
	return sameMemory(name, a, b, fd), err
}

// held keeps files from being closed by the collector.
var held []*os.File

// sharedFile maps a file in the data directory, and one that lost its name.
func sharedFile(dir string) (step, error) {
	named, err := sized(filepath.Join(dir, "shared"))
	if err != nil {
		return nil, err
	}
	one, err := mapTwice("file", int(named.Fd()))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "shared-deleted")
	nameless, err := sized(path)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	two, err := mapTwice("deleted file", int(nameless.Fd()))
	return all(one, two), err
}

func sharedAnonymous(string) (step, error) {
	mem, err := mmap(-1, memorySize, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	zero, err := os.OpenFile("/dev/zero", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	other, err := mmap(int(zero.Fd()), memorySize, unix.MAP_SHARED)
	return all(counted("anonymous", mem), counted("/dev/zero", other)), err
}

// memoryFile is a memfd that is mapped, written and read, and one that is sealed.
func memoryFile(string) (step, error) {
	fd, err := unix.MemfdCreate("victim", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, memorySize)
	}
	if err != nil {
		return nil, err
	}
	one, err := mapTwice("memfd", fd)
	if err != nil {
		return nil, err
	}
	sealed, err := unix.MemfdCreate("victim-sealed", unix.MFD_ALLOW_SEALING)
	if err == nil {
		_, err = unix.Write(sealed, []byte("sealed"))
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if err == nil {
		_, err = unix.FcntlInt(uintptr(sealed), unix.F_ADD_SEALS, seals)
	}
	return all(one, func() (string, error) {
		for f, want := range map[int]int{fd: unix.F_SEAL_SEAL, sealed: seals} {
			if got, err := unix.FcntlInt(uintptr(f), unix.F_GET_SEALS, 0); err != nil || got != want {
				return "", fmt.Errorf("seals of fd %d are %#x (%v), want %#x", f, got, err, want)
			}
		}
		buf := make([]byte, 10)
		if n, err := unix.Pread(sealed, buf, 0); string(buf[:max(n, 0)]) != "sealed" {
			return "", fmt.Errorf("sealed memfd holds %q, %v", buf, err)
		}
		if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); !strings.HasPrefix(link, "/memfd:victim") {
			return "", fmt.Errorf("memfd is called %q, %v", link, err)
		}
		return "", nil
	}), err
}

// passedMemory plays ping-pong with the other member in a memfd of both.
func passedMemory(side int) func(string) (step, error) {
	return func(string) (step, error) {
		if err := unix.Ftruncate(firstFD, memorySize); err != nil {
			return nil, err
		}
		mem, err := mmap(firstFD, memorySize, unix.MAP_SHARED)
		mine, other := mem[side*4096:], mem[(1-side)*4096:]
		n := uint64(0)
		return func() (string, error) {
			if got := binary.LittleEndian.Uint64(mine); got != n {
				return "", fmt.Errorf("own page holds %d, want %d", got, n)
			}
			// The first is ahead by one, or both are equal.
			if theirs := binary.LittleEndian.Uint64(other); theirs+uint64(side) > n {
				if theirs+uint64(side) != n+1 && theirs != n+1 {
					return "", fmt.Errorf("other page holds %d, this one %d", theirs, n)
				}
			} else if side == 1 || theirs != n {
				return fmt.Sprint(n), nil
			}
			n++
			binary.LittleEndian.PutUint64(mine, n)
			return fmt.Sprint(n), nil
		}, err
	}
}
