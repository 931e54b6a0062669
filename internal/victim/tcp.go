//go:build linux

package victim

import (
	"context"
	"fmt"
	"net"
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
