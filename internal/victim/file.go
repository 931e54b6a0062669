//go:build linux

package victim

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// regularFile has a file that it appends to, one with an offset that two
// descriptors share, and one opened again with an offset of its own.
func regularFile(dir string) (step, error) {
	appended, err := os.OpenFile(filepath.Join(dir, "append"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "offset")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR, 0o644) // not close-on-exec
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 20)
	if err != nil {
		return nil, err
	}
	reader, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var in, out, tail sequence
	total := int64(0)
	return func() (string, error) {
		for i, f := range []int{fd, dup} {
			if _, err := unix.Write(f, out.next(100+i)); err != nil {
				return "", err
			}
		}
		for _, f := range []int{fd, dup} {
			if got, err := unix.Seek(f, 0, io.SeekCurrent); err != nil || got != int64(out) {
				return "", fmt.Errorf("offset of fd %d is %d (%v), want %d", f, got, err, out)
			}
		}
		buf := make([]byte, 150)
		n, err := io.ReadFull(reader, buf)
		if err != nil {
			return "", err
		}
		if err := in.check(buf[:n]); err != nil {
			return "", err
		}
		if _, err := appended.Write(tail.next(50)); err != nil {
			return "", err
		}
		total += 50
		if fi, err := appended.Stat(); err != nil || fi.Size() != total {
			return "", fmt.Errorf("appended file has %d bytes (%v), want %d", fi.Size(), err, total)
		}
		return "", nil
	}, nil
}

// deletedFile has two open file descriptions of one file without a name.
func deletedFile(dir string) (step, error) {
	path := filepath.Join(dir, "gone")
	a, err := sized(path)
	if err != nil {
		return nil, err
	}
	b, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	var out, in sequence
	return func() (string, error) {
		if _, err := a.Write(out.next(200)); err != nil {
			return "", err
		}
		buf := make([]byte, 200)
		if _, err := io.ReadFull(b, buf); err != nil {
			return "", err
		}
		fi, err := a.Stat()
		if err != nil {
			return "", err
		}
		if fi.Sys() == nil || fi.Size() < memorySize {
			return "", fmt.Errorf("size %d", fi.Size())
		}
		return "", in.check(buf)
	}, nil
}

// directory makes files below a directory that it has open.
func directory(dir string) (step, error) {
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.Open(sub, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	byPath, err := unix.Open(sub, unix.O_PATH, 0)
	n := 0
	return func() (string, error) {
		name := fmt.Sprintf("file-%d", n)
		n++
		f, err := unix.Openat(fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			return "", fmt.Errorf("openat %s: %w", name, err)
		}
		if err := unix.Close(f); err != nil {
			return "", err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(byPath, name, &st, 0); err != nil {
			return "", fmt.Errorf("fstatat %s: %w", name, err)
		}
		entries, err := os.ReadDir(sub)
		if err == nil && len(entries) != n {
			err = fmt.Errorf("%d files, want %d", len(entries), n)
		}
		return "", err
	}, err
}

// locks holds one lock of each sort and asks whether others see them.
func locks(dir string) (step, error) {
	path := filepath.Join(dir, "lock")
	open := func() (int, error) { return unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644) }
	var fds [4]int
	for i := range fds {
		var err error
		if fds[i], err = open(); err != nil {
			return nil, err
		}
	}
	byBSD, byDescription, byProcess, other := fds[0], fds[1], fds[2], fds[3]
	if err := unix.Flock(byBSD, unix.LOCK_EX); err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 100, Len: 10}
	if err := unix.FcntlFlock(uintptr(byDescription), unix.F_OFD_SETLK, &lock); err != nil {
		return nil, err
	}
	lock = unix.Flock_t{Type: unix.F_RDLCK, Start: 200}
	if err := unix.FcntlFlock(uintptr(byProcess), unix.F_SETLK, &lock); err != nil {
		return nil, err
	}
	return func() (string, error) {
		if err := unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			return "", fmt.Errorf("the BSD lock is not held: %v", err)
		}
		for _, want := range []unix.Flock_t{
			{Type: unix.F_WRLCK, Start: 100, Len: 10, Pid: -1},
			{Type: unix.F_RDLCK, Start: 200, Pid: int32(os.Getpid())},
		} {
			got := unix.Flock_t{Type: unix.F_WRLCK, Start: want.Start, Len: want.Len}
			if err := unix.FcntlFlock(uintptr(other), unix.F_OFD_GETLK, &got); err != nil || got != want {
				return "", fmt.Errorf("lock is %+v (%v), want %+v", got, err, want)
			}
		}
		return "", nil
	}, nil
}

func devices(string) (step, error) {
	fds := map[string]int{}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		fd, err := unix.Open("/dev/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		fds[name] = fd
	}
	zero := make([]byte, 64)
	return func() (string, error) {
		buf := bytes.Repeat([]byte{1}, 64)
		if n, err := unix.Read(fds["zero"], buf); n != 64 || !bytes.Equal(buf, zero) {
			return "", fmt.Errorf("read /dev/zero: %d, %v, % x", n, err, buf)
		}
		for _, name := range []string{"random", "urandom"} {
			clear(buf)
			if n, err := unix.Read(fds[name], buf); n != 64 || bytes.Equal(buf, zero) {
				return "", fmt.Errorf("read /dev/%s: %d, %v, % x", name, n, err, buf)
			}
		}
		if n, err := unix.Read(fds["null"], buf); n != 0 || err != nil {
			return "", fmt.Errorf("read /dev/null: %d, %v", n, err)
		}
		if _, err := unix.Write(fds["null"], buf); err != nil {
			return "", fmt.Errorf("write /dev/null: %w", err)
		}
		if _, err := unix.Write(fds["full"], buf); err != unix.ENOSPC {
			return "", fmt.Errorf("write /dev/full: %v", err)
		}
		return "", nil
	}, nil
}

// terminal writes its rounds to the terminal that is its stdout.
func terminal(string) (step, error) {
	n := 0
	return func() (string, error) {
		_, err := fmt.Printf("round %d\n", n)
		n++
		return "", err
	}, nil
}

// procFile holds a file of /proc that tells of a thread. It notes what it reads.
func procFile(string) (step, error) {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		select {}
	}()
	f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/comm", <-tid))
	if err != nil {
		return nil, err
	}
	held = append(held, f)
	return func() (string, error) {
		buf := make([]byte, 20)
		n, err := f.ReadAt(buf, 0)
		if err == io.EOF {
			err = nil
		}
		return fmt.Sprintf("%q", buf[:n]), err
	}, nil
}
