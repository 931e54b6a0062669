//go:build linux

package sys

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnixDiag(t *testing.T) {
	diag, err := OpenUnixDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	inode := func(fd int) uint64 {
		fi, err := Fstat(FD(fd))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Ino
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if err := unix.Shutdown(p[0], unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	for i, shut := range []int{2, 1} {
		s, err := diag.Socket(inode(p[i]))
		if err != nil || s.Peer != inode(p[1-i]) || s.Shutdown != shut {
			t.Errorf("end %d: %+v, %v; want peer %d, shutdown %d", i, s, err, inode(p[1-i]), shut)
		}
	}
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrUnix{}); err != nil { // a name of the kernel's choice
		t.Fatal(err)
	}
	if err := unix.Listen(l, 8); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for range 3 {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(c)
			err = unix.Connect(c, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, inode(c))
	}
	if s, err := diag.Socket(inode(l)); err != nil || !slices.Equal(s.Queued, want) {
		t.Errorf("listener: %+v, %v; want %v queued", s, err, want)
	}
	if _, err := diag.Socket(1); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no such socket: %v", err)
	}
	if _, err := parseUnixDiag([]byte{1, 2, 3}); err == nil {
		t.Error("a short answer is taken")
	}
}
