//go:build linux

package sys

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// newBatch skips t where the kernel cannot do it, but not where it must.
func newBatch(t *testing.T) *SocketBatch {
	t.Helper()
	b, err := NewSocketBatch()
	if errors.Is(err, ErrNotSupported) && os.Getenv("PILOT_REQUIRE_PRIVILEGED") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestSocketBatch(t *testing.T) {
	b := newBatch(t)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.Write(p[1], []byte("unread")); err != nil {
		t.Fatal(err)
	}
	for range 100 { // the rings wrap around
		buf := make([]byte, 16)
		calls := []SocketCall{
			{Level: unix.SOL_SOCKET, Name: unix.SO_PASSCRED, Value: 0},
			{Buf: buf},
			{Level: unix.SOL_SOCKET, Name: 9999, Value: 1}, // no such option
			{Level: unix.SOL_SOCKET, Name: unix.SO_PASSCRED, Value: 1},
		}
		if err := b.Do(FD(p[0]), calls); err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:max(0, calls[1].Ret)]); got != "unread" {
			t.Fatalf("peeked %q (%v)", got, calls[1].Err())
		}
		if calls[0].Err() != nil || !errors.Is(calls[2].Err(), unix.ENOPROTOOPT) || calls[3].Err() != nil {
			t.Fatalf("results %v", calls)
		}
		if on, err := unix.GetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_PASSCRED); err != nil || on != 1 {
			t.Fatalf("the call behind one that failed was not made: %d, %v", on, err)
		}
	}
}

// TestSocketBatchEmpty asks a socket for bytes that it does not have: the
// answer comes at once.
func TestSocketBatchEmpty(t *testing.T) {
	b := newBatch(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	calls := []SocketCall{{Buf: make([]byte, 1)}}
	if cerr := raw.Control(func(fd uintptr) { err = b.Do(FD(fd), calls) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if !errors.Is(calls[0].Err(), unix.EAGAIN) {
		t.Errorf("got %d", calls[0].Ret)
	}
	if err := b.Do(0, make([]SocketCall, batchMost+1)); err == nil {
		t.Error("a batch that is too long is taken")
	}
}
