//go:build linux

package kobj

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// unixSock is a local socket, unix(7): listening, connected to another member,
// or connected to the outside, which is then gone.
type unixSock struct{}

type unixState struct {
	ino, peer uint64 // peer is 0 when unknown or not connected
	typ       int
	listening bool
	connected bool
	name      string   // path, or "@" and an abstract name
	data      [][]byte // unread messages; one piece for streams
}

// Peers maps the inode of each connected unix socket to its peer's. The caller
// fills it from sock_diag before capturing, see unix_diag(7).
type Peers map[uint64]uint64

func (unixSock) Name() string { return "unix" }

func (unixSock) Match(src *Source) bool { return src.domain() == unix.AF_UNIX }

func (unixSock) Capture(src *Source) (any, error) {
	st := &unixState{ino: src.Stat.Ino}
	var err error
	if st.typ, err = unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, os.NewSyscallError("getsockopt so_type", err)
	}
	n, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt so_acceptconn", err)
	}
	st.listening = n != 0
	if sa, err := unix.Getsockname(int(src.Dup)); err == nil {
		if un, ok := sa.(*unix.SockaddrUnix); ok {
			st.name = un.Name
		}
	}
	_, err = unix.Getpeername(int(src.Dup))
	st.connected = err == nil
	if st.connected || st.typ == unix.SOCK_DGRAM {
		st.data, err = peekUnix(src.Dup, st.typ)
		return st, err
	}
	return st, nil
}

// peekUnix copies unread bytes or messages. SO_PEEK_OFF walks over messages,
// socket(7); it is state of production's socket and put back.
func peekUnix(fd sys.FD, typ int) ([][]byte, error) {
	if typ == unix.SOCK_STREAM {
		data, err := peekStream(fd)
		if err != nil || len(data) == 0 {
			return nil, err
		}
		return [][]byte{data}, nil
	}
	waiting, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil || waiting == 0 {
		return nil, os.NewSyscallError("ioctl fionread", err)
	}
	old, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt so_peek_off", err)
	}
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return nil, os.NewSyscallError("setsockopt so_peek_off", err)
	}
	defer func() { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEEK_OFF, old) }()
	var out [][]byte
	buf := make([]byte, 256<<10)
	for {
		n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return out, nil
		}
		if err != nil {
			return nil, os.NewSyscallError("recv peek", err)
		}
		out = append(out, append([]byte(nil), buf[:n]...))
	}
}

// LinkUnix tells connected unix sockets their peers.
func LinkUnix(all []*Description, peers Peers) {
	for _, d := range all {
		if st, ok := d.State.(*unixState); ok {
			st.peer = peers[st.ino]
		}
	}
}

// pairUnix makes both ends of connections between descriptions of the set.
func (w *World) pairUnix(all []*Description) error {
	byInode := map[uint64]*unixState{}
	for _, d := range all {
		if st, ok := d.State.(*unixState); ok {
			byInode[st.ino] = st
		}
	}
	for _, st := range byInode {
		other := byInode[st.peer]
		if other == nil || other.peer != st.ino || w.unixPairs[st.ino] != 0 || st.ino == st.peer {
			continue
		}
		p, err := unix.Socketpair(unix.AF_UNIX, st.typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socketpair", err)
		}
		w.unixPairs[st.ino], w.unixPairs[other.ino] = sys.FD(p[0]), sys.FD(p[1])
		if err := refill(sys.FD(p[1]), st.data); err != nil {
			return err
		}
		if err := refill(sys.FD(p[0]), other.data); err != nil {
			return err
		}
	}
	return nil
}

func refill(fd sys.FD, messages [][]byte) error {
	for _, m := range messages {
		if err := fill(fd, m); err != nil {
			return err
		}
	}
	return nil
}

func (unixSock) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(*unixState)
	if fd, ok := w.unixPairs[st.ino]; ok {
		return fd, setStatus(fd, d)
	}
	if st.connected && st.typ != unix.SOCK_DGRAM {
		// The peer is outside. Two exceptions are no surprise to anybody: the
		// output of a member to a log collector.
		if h := d.Holders[0]; h.FD == 1 || h.FD == 2 {
			return w.output(d, "a socket that is read outside the cluster")
		}
		p, err := unix.Socketpair(unix.AF_UNIX, st.typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, os.NewSyscallError("socketpair", err)
		}
		if err := refill(sys.FD(p[1]), st.data); err != nil {
			return -1, err
		}
		_ = unix.Close(p[1])
		return sys.FD(p[0]), setStatus(sys.FD(p[0]), d)
	}
	fd, err := unix.Socket(unix.AF_UNIX, st.typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := w.bindUnix(fd, d, st); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return sys.FD(fd), setStatus(sys.FD(fd), d)
}

func (w *World) bindUnix(fd int, d *Description, st *unixState) error {
	if st.name != "" {
		if !strings.HasPrefix(st.name, "@") {
			_ = os.Remove(st.name)
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: st.name}); err != nil {
			w.Gap(d, fmt.Sprintf("cannot be reached at %s: %v", st.name, err))
			if !st.listening {
				return nil
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{}); err != nil { // an address of the kernel's choice
				return os.NewSyscallError("bind", err)
			}
		}
	}
	if st.listening {
		return os.NewSyscallError("listen", unix.Listen(fd, 4096))
	}
	return nil
}
