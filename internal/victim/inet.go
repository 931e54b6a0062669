//go:build linux

package victim

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Members meet at these addresses, in a network namespace of the test's.
var streamAddresses = []string{"127.0.0.1:7401", "[::1]:7402"}

// A connection's first bytes say what it is for.
const (
	talk       = 't' // both sides send and lag behind in reading
	flood      = 'f' // the client sends more than there is room for
	floodBack  = 'F' // the server does
	clientShut = 'c' // the client has shut down its sending side
	serverShut = 's' // the server has
)

// purposesOf lists them. MPTCP's send queue cannot be read, so it is not flooded.
func purposesOf(multipath bool) []byte {
	if multipath {
		return []byte{talk, clientShut, serverShut}
	}
	return []byte{talk, flood, floodBack, clientShut, serverShut}
}

// rawFD takes a connection out of Go's poller, non-blocking.
func rawFD(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	dup := -1
	var derr error
	err = raw.Control(func(fd uintptr) { dup, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err == nil {
		err = derr
	}
	return dup, err
}

func tcpServer(string) (step, error) {
	var steps []step
	for _, addr := range streamAddresses {
		s, err := serve(addr, false)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	queued, err := queueServer()
	return all(append(steps, queued)...), err
}

func tcpClient(string) (step, error) {
	var steps []step
	for _, addr := range streamAddresses {
		s, err := callServer(addr, false)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	queued, err := queueClient()
	return all(append(steps, queued)...), err
}

const mptcpAddress = "127.0.0.1:7404"

// Go's listeners are MPTCP where the kernel has it, and so is one client here.
func mptcpServer(string) (step, error) { return serve(mptcpAddress, true) }
func mptcpClient(string) (step, error) { return callServer(mptcpAddress, true) }

// hung tells whether a connection that nobody reads from is still there.
func hung(fd int) (string, error) {
	n, err := unix.Read(fd, make([]byte, 1))
	switch {
	case err == unix.EAGAIN:
		return "alive", nil
	case n > 0:
		return "", fmt.Errorf("read %d bytes that nobody sent", n)
	}
	return "dead", nil
}

// mptcpFull has both ends of an MPTCP connection that holds all it can.
func mptcpFull(string) (step, error) {
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(context.Background(), "tcp", mptcpAddress)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{}
	d.SetMultipathTCP(true)
	client, err := d.Dial("tcp", mptcpAddress)
	if err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		return nil, err
	}
	a, err := rawFD(client.(*net.TCPConn))
	if err != nil {
		return nil, err
	}
	b, err := rawFD(server.(*net.TCPConn))
	if err != nil {
		return nil, err
	}
	for {
		if _, err := unix.Write(a, make([]byte, 64<<10)); err == unix.EAGAIN {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return func() (string, error) {
		runtime.KeepAlive([]any{l, client, server, b})
		return hung(a)
	}, nil
}

// unaccepted sends on connections that are never accepted.
func unaccepted(dir string) (step, error) {
	var fds []int
	for network, addr := range map[string]string{"tcp": queueAddress, "unix": filepath.Join(dir, "socket")} {
		l, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		conn, err := net.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Write([]byte("unread")); err != nil {
			return nil, err
		}
		fd, err := rawFD(conn.(syscall.Conn))
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
		listening = append(listening, l)
	}
	return func() (string, error) {
		var notes []string
		for _, fd := range fds {
			note, err := hung(fd)
			if err != nil {
				return "", err
			}
			notes = append(notes, note)
		}
		return strings.Join(notes, " "), nil
	}, nil
}

// listening keeps listeners from being closed by the collector.
var listening []net.Listener

// serve accepts one connection for each purpose, then plays its part.
func serve(addr string, multipath bool) (step, error) {
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(multipath)
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	var steps []step
	return func() (string, error) {
		for len(steps) < len(purposesOf(multipath)) {
			conn, err := l.Accept()
			if err != nil {
				return "", err
			}
			purpose := make([]byte, 1)
			if _, err := conn.Read(purpose); err != nil {
				return "", err
			}
			s, err := part(conn.(*net.TCPConn), purpose[0], false)
			if err != nil {
				return "", err
			}
			steps = append(steps, s)
		}
		return all(steps...)()
	}, nil
}

func callServer(addr string, multipath bool) (step, error) {
	d := net.Dialer{}
	d.SetMultipathTCP(multipath)
	var steps []step
	for _, purpose := range purposesOf(multipath) {
		conn, err := untilUp(func() (net.Conn, error) { return d.Dial("tcp", addr) })
		if err != nil {
			return nil, err
		}
		if _, err := conn.Write([]byte{purpose}); err != nil {
			return nil, err
		}
		s, err := part(conn.(*net.TCPConn), purpose, true)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return all(steps...), nil
}

// untilUp waits for the other member to listen.
func untilUp(dial func() (net.Conn, error)) (conn net.Conn, err error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(period) {
		if conn, err = dial(); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// part is what one end of a connection does in each round.
func part(conn *net.TCPConn, purpose byte, client bool) (step, error) {
	name := fmt.Sprintf("%v to %v (%c)", conn.LocalAddr(), conn.RemoteAddr(), purpose)
	fd, err := rawFD(conn)
	if err != nil {
		return nil, err
	}
	nodelay, derr := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	steady := func() (string, error) {
		if n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != derr || n != nodelay {
			return "", fmt.Errorf("%s: TCP_NODELAY is %d (%v), want %d", name, n, err, nodelay)
		}
		local, err := unix.Getsockname(fd)
		if err != nil || port(local) != conn.LocalAddr().(*net.TCPAddr).Port {
			return "", fmt.Errorf("%s: own address is %+v, %v", name, local, err)
		}
		peer, err := unix.Getpeername(fd)
		if err != nil || port(peer) != conn.RemoteAddr().(*net.TCPAddr).Port {
			return "", fmt.Errorf("%s: peer's address is %+v, %v", name, peer, err)
		}
		return "", pendingError(name, fd)
	}
	sends, receives := true, true
	amount, room := 700, 400
	switch purpose {
	case flood, floodBack:
		sends = (purpose == flood) == client
		receives = !sends
		amount, room = 1<<20, 20000
	case clientShut, serverShut:
		sends = (purpose == serverShut) == client
		receives = !sends
		if !sends {
			err = conn.CloseWrite()
		}
	}
	steps := []step{steady}
	if sends {
		steps = append(steps, sender(name, fd, amount))
	} else if purpose == clientShut || purpose == serverShut {
		steps = append(steps, func() (string, error) {
			if n, err := unix.Write(fd, []byte{1}); err != unix.EPIPE {
				return "", fmt.Errorf("%s: write after the end: %d, %v", name, n, err)
			}
			return "", nil
		})
	}
	switch {
	case receives:
		steps = append(steps, receiver(name, fd, room))
	case purpose == clientShut || purpose == serverShut:
		steps = append(steps, func() (string, error) {
			if n, err := unix.Read(fd, make([]byte, 1)); n != 0 && err != unix.EAGAIN {
				return "", fmt.Errorf("%s: read after the end: %d, %v", name, n, err)
			}
			return "", nil
		})
	}
	return all(steps...), err
}

func port(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return -1
}

func pendingError(what string, fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// sender writes as much as fits, up to n bytes.
func sender(name string, fd, n int) step {
	var out sequence
	data := []byte(nil)
	return func() (string, error) {
		if len(data) == 0 {
			data = out.next(n)
		}
		got, err := unix.Write(fd, data)
		if err == unix.EAGAIN {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("%s: write at %d: %w", name, int(out)-len(data), err)
		}
		data = data[got:]
		return "", nil
	}
}

// receiver reads at most n bytes and checks them. It reports a standstill.
func receiver(name string, fd, n int) step {
	var in sequence
	var last time.Duration
	buf := make([]byte, n)
	return func() (string, error) {
		got, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			if now := monotonic(); last != 0 && now-last > 5*late {
				return "", fmt.Errorf("%s: nothing comes for %v, at %d", name, now-last, in)
			}
			return "", nil
		}
		if err != nil || got == 0 {
			return "", fmt.Errorf("%s: read at %d: %d, %w", name, in, got, err)
		}
		last = monotonic()
		if err := in.check(buf[:got]); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return "", nil
	}
}

// The queue of connections that wait to be accepted is never empty.
const queueAddress, queueLength = "127.0.0.1:7403", 5

// queueServer accepts one connection in each round, and greets.
func queueServer() (step, error) {
	l, err := net.Listen("tcp", queueAddress)
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
		conn, err := l.Accept()
		if err != nil {
			return "", nil // nobody waits
		}
		defer conn.Close()
		_, err = conn.Write([]byte("welcome"))
		return "", err
	}, nil
}

// queueClient keeps connections waiting: it opens several, and a new one for
// each that was greeted.
func queueClient() (step, error) {
	var conns []net.Conn
	return func() (string, error) {
		for len(conns) < queueLength {
			conn, err := untilUp(func() (net.Conn, error) { return net.DialTimeout("tcp", queueAddress, time.Second) })
			if err != nil {
				return "", fmt.Errorf("join the queue: %w", err)
			}
			conns = append(conns, conn)
		}
		_ = conns[0].SetReadDeadline(time.Now().Add(5 * late))
		buf := make([]byte, 20)
		n, err := conns[0].Read(buf)
		if string(buf[:n]) != "welcome" {
			return "", fmt.Errorf("in the queue: %q, %v", buf[:n], err)
		}
		_ = conns[0].Close()
		conns = conns[1:]
		return "", nil
	}, nil
}

// outside talks to a server that is no member, whose address the test has
// written to a file. In a world the connection must die, and promptly.
func outside(dir string) (step, error) {
	text, err := os.ReadFile(filepath.Join(dir, "address"))
	if err != nil {
		return nil, err
	}
	addr := strings.TrimSpace(string(text))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	n := uint64(0)
	dead := false
	return func() (string, error) {
		began := time.Now()
		_ = conn.SetDeadline(began.Add(late))
		if dead {
			if c, err := net.DialTimeout("tcp", addr, late); err == nil {
				_ = c.Close()
				return "", fmt.Errorf("connected to %s after the connection was lost", addr)
			}
			if took := time.Since(began); took > late/2 {
				return "", fmt.Errorf("it took %v to learn that nobody is at %s", took, addr)
			}
			return "dead", nil
		}
		n++
		_, err := conn.Write(put(n))
		buf := make([]byte, 8)
		if err == nil {
			_, err = conn.Read(buf)
		}
		if err != nil {
			if took := time.Since(began); took > late/2 {
				return "", fmt.Errorf("it took %v to learn: %w", took, err)
			}
			dead = true
			return "dead", nil
		}
		if got := binary.NativeEndian.Uint64(buf); got != n {
			return "", fmt.Errorf("echo of %d is %d", n, got)
		}
		return "alive", nil
	}, nil
}

var datagramAddresses = []string{"127.0.0.1:7405", "[::1]:7406"}

func udpServer(string) (step, error) {
	var steps []step
	for _, addr := range datagramAddresses {
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(conn.(*net.UDPConn))
		if err != nil {
			return nil, err
		}
		steps = append(steps, func() (string, error) {
			for range 5 {
				buf := make([]byte, 100)
				n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
				if err == unix.EAGAIN {
					break
				}
				if err == nil {
					err = unix.Sendto(fd, buf[:n], 0, from)
				}
				if err != nil {
					return "", fmt.Errorf("%s: %w", addr, err)
				}
			}
			return "", nil
		})
	}
	return all(steps...), nil
}

// udpClient sends numbers and wants them back, in any order, some lost.
func udpClient(string) (step, error) {
	var steps []step
	for _, addr := range datagramAddresses {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(conn.(*net.UDPConn))
		if err != nil {
			return nil, err
		}
		sent := uint64(0)
		last := monotonic()
		steps = append(steps, func() (string, error) {
			sent++
			if _, err := unix.Write(fd, put(sent)); err != nil && err != unix.ECONNREFUSED {
				return "", err
			}
			buf := make([]byte, 100)
			n, err := unix.Read(fd, buf)
			switch {
			case n == 8:
				if got := binary.NativeEndian.Uint64(buf); got > sent || got == 0 {
					return "", fmt.Errorf("%s: got %d, sent %d", addr, got, sent)
				}
				last = monotonic()
			case monotonic()-last > 5*late:
				return "", fmt.Errorf("%s: no answer: %w", addr, err)
			}
			return "", nil
		})
	}
	return all(steps...), nil
}

// routes asks the kernel for its links over a netlink socket.
func routes(string) (step, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	// No group that other tests' links could send to.
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_NEIGH - 1)}); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	port := sa.(*unix.SockaddrNetlink).Pid
	n := uint32(0)
	return func() (string, error) {
		n++
		req := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
		ne := binary.NativeEndian
		ne.PutUint32(req, uint32(len(req)))
		ne.PutUint16(req[4:], unix.RTM_GETLINK)
		ne.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		ne.PutUint32(req[8:], n)
		if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return "", err
		}
		links := 0
		for done := false; !done; {
			buf := make([]byte, 32<<10)
			got, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return "", fmt.Errorf("receive: %w", err)
			}
			msgs, err := syscall.ParseNetlinkMessage(buf[:got])
			if err != nil {
				return "", err
			}
			for _, m := range msgs {
				if m.Header.Seq != n || m.Header.Pid != port {
					return "", fmt.Errorf("answer %+v to request %d of port %d", m.Header, n, port)
				}
				links++
				done = done || m.Header.Type == unix.NLMSG_DONE
			}
		}
		sa, err := unix.Getsockname(fd)
		if err == nil && (links < 2 || sa.(*unix.SockaddrNetlink).Groups != 1<<(unix.RTNLGRP_NEIGH-1)) {
			err = fmt.Errorf("%d links, socket %+v", links, sa)
		}
		return "", err
	}, err
}
