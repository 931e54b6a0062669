//go:build linux

package victim

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpPort has two connections from one local port, as the kernel makes them when
// a process connects to many: it is their addresses together that must differ.
func tcpPort(string) (step, error) {
	var from *net.TCPAddr
	var ends []net.Conn
	for _, at := range []string{"127.0.0.1:7405", "127.0.0.1:7406"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{Control: reuse(1)}
		if from != nil {
			d.LocalAddr = from
		}
		client, err := d.Dial("tcp", at)
		if err != nil {
			return nil, err
		}
		from = client.LocalAddr().(*net.TCPAddr)
		server, err := l.Accept()
		if err != nil {
			return nil, err
		}
		ends = append(ends, client, server)
	}
	for _, c := range []net.Conn{ends[0], ends[2]} { // as after a connect(2) without bind(2)
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err == nil {
			err = reuse(0)("", "", raw)
		}
		if err != nil {
			return nil, err
		}
	}
	n := byte(0)
	return func() (string, error) {
		n++
		for i := 0; i < len(ends); i += 2 {
			if _, err := ends[i].Write([]byte{n}); err != nil {
				return "", err
			}
			got := make([]byte, 1)
			if _, err := ends[i+1].Read(got); err != nil {
				return "", err
			}
			if got[0] != n || ends[i].LocalAddr().String() != from.String() {
				return "", fmt.Errorf("%v to %v: got %d, want %d", ends[i].LocalAddr(), ends[i].RemoteAddr(), got[0], n)
			}
		}
		return "", nil
	}, nil
}

// reuse sets SO_REUSEADDR.
func reuse(value int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, value) })
		if err == nil {
			err = serr
		}
		return err
	}
}
