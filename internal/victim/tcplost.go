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
