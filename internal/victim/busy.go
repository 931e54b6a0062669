//go:build linux

package victim

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Done is where members that are busy once tell of what they did.
const Done = "done"

const (
	busyAddress = "127.0.0.1:7431"
	// nobody listens here.
	deafAddress = "127.0.0.1:7432"
)

// Two members have a connection, on which one sends a byte in each round that the
// other leaves unread. When there is a file [Go] they do what is listed below,
// write to [Done] what that was, and rest.

// until plays a part once there is a file to say so.
func until(dir string, idle, part func() error) step {
	done := false
	return func() (string, error) {
		if done {
			return "", nil
		}
		if _, err := os.Stat(filepath.Join(dir, Go)); err != nil {
			return "", idle()
		}
		done = true
		return "", part()
	}
}

// report writes what was done, under its name only when it is complete.
func report(dir string, lines ...string) error {
	name := filepath.Join(dir, Done)
	if err := os.WriteFile(name+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func busyServer(dir string) (step, error) {
	l, err := net.Listen("tcp", busyAddress)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	idle := func() (err error) {
		if conn == nil {
			conn, err = l.Accept()
		}
		return err
	}
	return until(dir, idle, func() error {
		received, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		for range 5 {
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				return err
			}
		}
		if err := conn.Close(); err != nil {
			return err
		}
		second, err := l.Accept()
		if err != nil {
			return err
		}
		again, err := io.ReadAll(second)
		if err != nil {
			return err
		}
		if _, err := second.Write(make([]byte, 20)); err != nil {
			return err
		}
		if err := second.Close(); err != nil {
			return err
		}
		return report(dir, fmt.Sprintf("received %d %d", len(received), len(again)))
	}), nil
}

func busyClient(dir string) (step, error) {
	conn, err := untilUp(func() (net.Conn, error) { return net.Dial("tcp", busyAddress) })
	if err != nil {
		return nil, err
	}
	sent := 0
	send := func(n int) error {
		n, err := conn.Write(make([]byte, n))
		sent += n
		return err
	}
	return until(dir, func() error { return send(1) }, func() error {
		for range 10 {
			if err := send(1000); err != nil {
				return err
			}
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
		second, err := net.Dial("tcp", busyAddress)
		if err != nil {
			return err
		}
		if _, err := second.Write(make([]byte, 300)); err != nil {
			return err
		}
		if err := second.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		again, err := io.ReadAll(second)
		if err != nil {
			return err
		}
		if err := second.Close(); err != nil {
			return err
		}
		if _, err := net.DialTimeout("tcp", deafAddress, time.Second); err == nil {
			return fmt.Errorf("somebody listens on %s", deafAddress)
		}
		if err := busyFiles(dir); err != nil {
			return err
		}
		return report(dir, fmt.Sprintf("sent %d, received %d %d, as %v and %v", sent, len(answer), len(again), conn.LocalAddr(), second.LocalAddr()))
	}), nil
}

// busyFiles does a little of everything with files.
func busyFiles(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	f, err := os.Create("a.new")
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := f.Write(make([]byte, 100)); err != nil {
			return err
		}
	}
	for _, do := range []func() error{
		f.Sync,
		func() error { return f.Truncate(250) },
		f.Close,
		func() error { return os.Rename("a.new", "a") },
		func() error { return os.Mkdir("sub", 0o755) },
		func() error { return os.WriteFile("sub/b", []byte("12345"), 0o644) },
		func() error { return os.WriteFile("sub/b", []byte("1234567"), 0o644) }, // empties it
		func() error { return os.Symlink("b", "sub/c") },
		func() error { return os.Remove("sub/c") },
		func() error { return os.Remove("sub/b") },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return os.Remove("sub")
}
