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
	sys.UnixSocket
	ino       uint64
	typ       int
	listening bool
	connected bool
	name      string       // path, or "@" and an abstract name
	node      *unix.Stat_t // of the path, nil when it is gone
	data      [][]byte     // unread messages; one piece for streams
	sent      int          // bytes that its peer has not read yet, in the kernel's measure
	options   []option
}

var unixOptions = [][2]int{{unix.SOL_SOCKET, unix.SO_PASSCRED}}

func (unixSock) Name() string { return "unix" }

func (unixSock) Match(src *Source) bool { return src.domain() == unix.AF_UNIX }

func (unixSock) Capture(src *Source) (any, error) {
	st := &unixState{ino: src.Stat.Ino, options: getOptions(src.Dup, unixOptions)}
	var err error
	// Sockets of another network namespace are not shown: their peers count as
	// being outside.
	if st.UnixSocket, err = src.Unix.Socket(st.ino); err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	if st.typ, err = unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, os.NewSyscallError("getsockopt so_type", err)
	}
	n, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt so_acceptconn", err)
	}
	st.listening = n != 0
	if sa, err := unix.Getsockname(int(src.Dup)); err == nil {
		// A socket without a name shows as an empty abstract one.
		if un, ok := sa.(*unix.SockaddrUnix); ok && un.Name != "@" {
			st.name = un.Name
		}
	}
	if st.listening || st.typ == unix.SOCK_DGRAM {
		st.node = socketNode(st.name)
	}
	if st.listening {
		return st, nil
	}
	_, err = unix.Getpeername(int(src.Dup))
	st.connected = err == nil
	if st.sent, err = unix.IoctlGetInt(int(src.Dup), unix.TIOCOUTQ); err != nil {
		return nil, os.NewSyscallError("ioctl siocoutq", err)
	}
	if st.connected || st.typ == unix.SOCK_DGRAM {
		st.data, err = peekUnix(src.Dup, st.typ)
		return st, err
	}
	return st, nil
}

// socketNode looks at what a socket is bound to: its owner and mode decide who
// may connect, unix(7).
func socketNode(name string) *unix.Stat_t {
	var st unix.Stat_t
	if !strings.HasPrefix(name, "/") || unix.Lstat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	return &st
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

// pairUnix makes listening sockets, and both ends of connections between
// descriptions of the set.
func (w *World) pairUnix(all []*Description) error {
	byInode := map[uint64]*Description{}
	listening := map[string]sys.FD{}
	for _, d := range all {
		st, ok := d.State.(*unixState)
		if !ok {
			continue
		}
		byInode[st.ino] = d
		if st.listening {
			fd, err := w.newUnix(d)
			if err != nil {
				return fmt.Errorf("restore %v: %w", d, err)
			}
			w.unixPairs[st.ino] = fd
			listening[st.name] = fd
		}
	}
	for _, d := range all {
		st, ok := d.State.(*unixState)
		if !ok || byInode[st.Peer] == nil || w.unixPairs[st.ino] != 0 || st.ino == st.Peer {
			continue
		}
		other := byInode[st.Peer].State.(*unixState)
		if other.Peer != st.ino {
			continue // a datagram socket that others send to
		}
		if err := w.unixPair(d, byInode[st.Peer], listening); err != nil {
			return fmt.Errorf("restore %v: %w", d, err)
		}
	}
	// Last, since they would be accepted in the place of others.
	for _, d := range all {
		if st, ok := d.State.(*unixState); ok && st.listening {
			for _, ino := range st.Queued {
				if err := w.queueUnix(byInode[ino], st.name); err != nil {
					return fmt.Errorf("restore %v: %w", d, err)
				}
			}
		}
	}
	return nil
}

// unixPair makes the two ends of a connection, with what was under way.
func (w *World) unixPair(da, db *Description, listening map[string]sys.FD) error {
	a, b := da.State.(*unixState), db.State.(*unixState)
	if _, ok := listening[a.name]; ok && a.typ != unix.SOCK_DGRAM {
		a, b, da = b, a, db // b has the listener's name: it was accepted
	}
	var err error
	switch l, ok := listening[b.name]; {
	case a.typ == unix.SOCK_DGRAM && a.name+b.name != "":
		err = w.connectDatagrams(da, db)
	case ok && a.typ != unix.SOCK_DGRAM:
		if w.unixPairs[a.ino], err = w.callUnix(da, b.name); err == nil {
			w.unixPairs[b.ino], err = (&boundListener{fd: l}).accept()
		}
	default:
		var p [2]int
		if p, err = unix.Socketpair(unix.AF_UNIX, a.typ|unix.SOCK_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("socketpair", err)
		}
		w.unixPairs[a.ino], w.unixPairs[b.ino] = sys.FD(p[0]), sys.FD(p[1])
	}
	if err != nil {
		return err
	}
	if err := refill(w.unixPairs[b.ino], a.data); err != nil {
		return err
	}
	if err := refill(w.unixPairs[a.ino], b.data); err != nil {
		return err
	}
	for _, st := range []*unixState{a, b} {
		if st.Shutdown == 0 {
			continue
		}
		// Bits 1 and 2 count from 1, the argument from 0.
		if err := unix.Shutdown(int(w.unixPairs[st.ino]), st.Shutdown-1); err != nil {
			return os.NewSyscallError("shutdown", err)
		}
	}
	return nil
}

// callUnix connects a new socket to the listener called name.
func (w *World) callUnix(d *Description, name string) (sys.FD, error) {
	fd, err := w.newUnix(d)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(int(fd), &unix.SockaddrUnix{Name: name}); err != nil {
		_ = fd.Close()
		return -1, fmt.Errorf("connect to %s: %w", name, err)
	}
	return fd, nil
}

// connectDatagrams makes two datagram sockets that send to each other, at
// least one of them with a name.
func (w *World) connectDatagrams(da, db *Description) error {
	for _, d := range []*Description{da, db} {
		fd, err := w.newUnix(d)
		if err != nil {
			return err
		}
		w.unixPairs[d.State.(*unixState).ino] = fd
	}
	return errors.Join(w.connectDatagram(da, db), w.connectDatagram(db, da))
}

func (w *World) connectDatagram(from, to *Description) error {
	name := to.State.(*unixState).name
	if name == "" {
		w.Gap(from, "its peer has no name to connect to")
		return nil
	}
	fd := w.unixPairs[from.State.(*unixState).ino]
	return os.NewSyscallError("connect", unix.Connect(int(fd), &unix.SockaddrUnix{Name: name}))
}

// queueUnix makes a connection that waits to be accepted. What was sent on it
// already is out of reach: such a connection is dead in the world.
func (w *World) queueUnix(d *Description, name string) error {
	if d == nil {
		return nil // from outside
	}
	st := d.State.(*unixState)
	if st.sent > 0 {
		w.Gap(d, "was not accepted yet and has bytes under way: the connection is lost")
		return nil
	}
	fd, err := w.callUnix(d, name)
	w.unixPairs[st.ino] = fd
	return err
}

// connectUnix connects datagram sockets to those that do not connect back, when
// all are made.
func (w *World) connectUnix(all []*Description, fds []sys.FD) error {
	names := map[uint64]string{}
	for _, d := range all {
		if st, ok := d.State.(*unixState); ok {
			names[st.ino] = st.name
		}
	}
	for i, d := range all {
		st, ok := d.State.(*unixState)
		if !ok || st.typ != unix.SOCK_DGRAM || !st.connected || w.unixPairs[st.ino] != 0 {
			continue
		}
		if names[st.Peer] == "" {
			w.Gap(d, "its peer is outside the cluster: what it sends is lost")
			continue
		}
		if err := unix.Connect(int(fds[i]), &unix.SockaddrUnix{Name: names[st.Peer]}); err != nil {
			return fmt.Errorf("restore %v: connect to %s: %w", d, names[st.Peer], err)
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
		if err := setOptions(fd, st.options); err != nil {
			return -1, err
		}
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
	if len(st.data) > 0 {
		w.Gap(d, fmt.Sprintf("%d unread messages are lost", len(st.data)))
	}
	return w.newUnix(d)
}

// newUnix makes a socket with d's name, which listens when d did.
func (w *World) newUnix(d *Description) (sys.FD, error) {
	st := d.State.(*unixState)
	fd, err := unix.Socket(unix.AF_UNIX, st.typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = w.bindUnix(fd, d, st); err == nil {
		err = setOptions(sys.FD(fd), st.options)
	}
	if err != nil {
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
		err := unix.Bind(fd, &unix.SockaddrUnix{Name: st.name})
		if n := st.node; err == nil && n != nil {
			if err := errors.Join(unix.Lchown(st.name, int(n.Uid), int(n.Gid)), unix.Chmod(st.name, n.Mode&0o7777)); err != nil {
				return fmt.Errorf("owner of %s: %w", st.name, err)
			}
		}
		if err != nil {
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
