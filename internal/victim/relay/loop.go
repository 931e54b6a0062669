//go:build linux

package relay

import (
	"net"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"golang.org/x/sys/unix"
)

// loop serves all connections with one thread, and runs its timer on it too.
func (t *task) loop() {
	addr, err := net.ResolveTCPAddr("tcp", t.cfg.Back)
	check(err)
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	check(unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	check(unix.Bind(l, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	check(unix.Listen(l, 64))
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(err)
	watch := func(fd int) {
		check(unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	watch(l)
	t.listening()
	wires := map[int]*wire{}
	next, n := time.Now().Add(compact), 0
	for {
		events := make([]unix.EpollEvent, 8)
		ready, err := unix.EpollWait(poll, events, int(max(0, time.Until(next).Milliseconds())))
		if err == unix.EINTR {
			continue
		}
		check(err)
		for _, e := range events[:ready] {
			fd := int(e.Fd)
			if fd != l {
				t.ready(fd, wires)
				continue
			}
			conn, w := t.acceptFD(l)
			wires[conn] = w
			watch(conn)
		}
		if time.Now().After(next) {
			t.compact(n)
			n++
			next = time.Now().Add(compact)
		}
	}
}

func (t *task) ready(fd int, wires map[int]*wire) {
	w := wires[fd]
	if text, ok := t.request(w); ok {
		t.serveBack(w, text)
		return
	}
	check(unix.Close(fd))
	delete(wires, fd)
}

// An fdConn is a descriptor as the connection of a wire.
type fdConn struct {
	net.Conn
	fd int
}

func (c fdConn) Read(p []byte) (int, error) {
	n, err := unix.Read(c.fd, p)
	if n == 0 && err == nil {
		return 0, net.ErrClosed
	}
	return max(0, n), err
}

func (c fdConn) Write(p []byte) (int, error) { return unix.Write(c.fd, p) }

func (t *task) acceptFD(l int) (int, *wire) {
	at := t.now()
	fd, peer, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	check(err)
	from := address(peer)
	w := &wire{Conn: fdConn{fd: fd}, name: strings.Join([]string{"tcp", from, t.cfg.Back}, " ")}
	t.cause = OfMessage
	t.cause = t.did(at, model.Event{Kind: model.EventAccept, Object: from, Conn: w.name})
	return fd, w
}

func address(a unix.Sockaddr) string {
	in, ok := a.(*unix.SockaddrInet4)
	if !ok {
		return ""
	}
	return (&net.TCPAddr{IP: in.Addr[:], Port: in.Port}).String()
}
