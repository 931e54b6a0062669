//go:build linux

package victim

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// unixPairs uses a pair of each type inside the process.
func unixPairs(string) (step, error) {
	var steps []step
	for name, typ := range map[string]int{
		"stream": unix.SOCK_STREAM, "datagram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET,
	} {
		p, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, err
		}
		if typ == unix.SOCK_STREAM {
			steps = append(steps, streamed("there", p[0], p[1]), streamed("back", p[1], p[0]))
		} else {
			steps = append(steps, messages(name+" there", p[0], p[1], 7), messages(name+" back", p[1], p[0], 5))
		}
	}
	// One whose other end is closed, with bytes left.
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if _, err := unix.Write(p[1], []byte("last words")); err != nil {
		return nil, err
	}
	if err := unix.Close(p[1]); err != nil {
		return nil, err
	}
	// One that is shut down in one direction.
	half, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Shutdown(half[0], unix.SHUT_WR); err != nil {
		return nil, err
	}
	return all(append(steps, streamed("half", half[1], half[0]), func() (string, error) {
		buf := make([]byte, 100)
		if n, _, err := unix.Recvfrom(p[0], buf, unix.MSG_PEEK); string(buf[:max(n, 0)]) != "last words" {
			return "", fmt.Errorf("left of a closed pair: %q, %v", buf[:max(n, 0)], err)
		}
		if n, err := unix.Write(p[0], buf); err != unix.EPIPE {
			return "", fmt.Errorf("write to a closed pair: %d, %v", n, err)
		}
		if n, err := unix.Read(half[1], buf); n != 0 || err != nil {
			return "", fmt.Errorf("read of a shut pair: %d, %v", n, err)
		}
		return "", nil
	})...), nil
}

// unixMember talks to another member over a pair of each type.
func unixMember(int) func(string) (step, error) {
	return func(string) (step, error) {
		stream, datagram, packet := firstFD, firstFD+1, firstFD+2
		for _, fd := range []int{stream, datagram, packet} {
			if err := unix.SetNonblock(fd, true); err != nil {
				return nil, err
			}
		}
		others := all(peerMessages("datagram", datagram), peerMessages("seqpacket", packet))
		talk := peerStream(stream)
		return func() (string, error) {
			if note, err := others(); err != nil {
				return note, err
			}
			return talk()
		}, nil
	}
}

// peerStream sends what there is room for up to a limit, and checks what comes.
// It lags behind, so that bytes always wait.
func peerStream(fd int) step {
	var in, out sequence
	return func() (string, error) {
		ahead := out
		if n, err := unix.Write(fd, ahead.next(500)); err == nil {
			out += sequence(n)
		} else if err != unix.EAGAIN {
			return "", fmt.Errorf("stream: write: %w", err)
		}
		buf := make([]byte, 400)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return "", nil
		}
		if err != nil || n == 0 {
			return "", fmt.Errorf("stream: read: %d, %w", n, err)
		}
		return fmt.Sprint(in), in.check(buf[:n])
	}
}

func peerMessages(name string, fd int) step {
	sent, read := 0, 0
	return func() (string, error) {
		for range 2 {
			if _, err := unix.Write(fd, fmt.Appendf(nil, "%s %d", name, sent)); err == nil {
				sent++
			} else if err != unix.EAGAIN {
				return "", fmt.Errorf("%s: write: %w", name, err)
			}
		}
		buf := make([]byte, 100)
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return "", nil
		}
		if got, want := string(buf[:max(n, 0)]), fmt.Sprintf("%s %d", name, read); got != want {
			return "", fmt.Errorf("%s: got %q (%v), want %q", name, got, err, want)
		}
		read++
		return "", nil
	}
}

// unixListener listens by path and by an abstract name. Connections are made
// in each round; some are never accepted; some stay for ever.
func unixListener(dir string) (step, error) {
	var steps []step
	for _, name := range []string{filepath.Join(dir, "socket"), "@pilot-victim-" + filepath.Base(dir)} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name})
		if err != nil {
			return nil, err
		}
		kept, far, err := connected(l)
		if err != nil {
			return nil, err
		}
		var there, back sequence
		steps = append(steps, func() (string, error) {
			if err := exchange(kept, far, &there); err != nil {
				return "", fmt.Errorf("%s: lasting connection: %w", name, err)
			}
			if err := exchange(far, kept, &back); err != nil {
				return "", fmt.Errorf("%s: lasting connection: %w", name, err)
			}
			if got := kept.RemoteAddr().String(); got != name {
				return "", fmt.Errorf("connected to %q, want %q", got, name)
			}
			a, b, err := connected(l)
			if err != nil {
				return "", err
			}
			defer a.Close()
			defer b.Close()
			var s sequence
			return "", exchange(a, b, &s)
		})
	}
	// A datagram server that replies to a bound client.
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "server")})
	if err != nil {
		return nil, err
	}
	client, err := net.DialUnix("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "client")}, &net.UnixAddr{Name: filepath.Join(dir, "server")})
	n := 0
	return all(append(steps, func() (string, error) {
		deadline := time.Now().Add(late)
		_ = server.SetDeadline(deadline)
		_ = client.SetDeadline(deadline)
		n++
		if _, err := fmt.Fprintf(client, "hello %d", n); err != nil {
			return "", err
		}
		buf := make([]byte, 100)
		got, from, err := server.ReadFromUnix(buf)
		if err != nil || string(buf[:got]) != fmt.Sprintf("hello %d", n) {
			return "", fmt.Errorf("server got %q, %v", buf[:got], err)
		}
		if _, err := server.WriteToUnix(buf[:got], from); err != nil {
			return "", err
		}
		if got, err := client.Read(buf); err != nil || string(buf[:got]) != fmt.Sprintf("hello %d", n) {
			return "", fmt.Errorf("client got %q, %v", buf[:got], err)
		}
		return "", nil
	})...), err
}

func connected(l *net.UnixListener) (a, b net.Conn, err error) {
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	_ = l.SetDeadline(time.Now().Add(late))
	b, err = l.Accept()
	return a, b, err
}

// exchange sends the next bytes of s from one end to the other.
func exchange(from, to net.Conn, s *sequence) error {
	_ = to.SetReadDeadline(time.Now().Add(late))
	in := *s
	if _, err := from.Write(s.next(300)); err != nil {
		return err
	}
	buf := make([]byte, 300)
	for at := 0; at < len(buf); {
		n, err := to.Read(buf[at:])
		if err != nil {
			return err
		}
		at += n
	}
	return in.check(buf)
}

// unixQueue has a listener with connections that wait to be accepted, three
// at all times. A client speaks when it was accepted.
func unixQueue(dir string) (step, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket")})
	var waiting []net.Conn
	return func() (string, error) {
		for len(waiting) < 4 {
			c, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				return "", fmt.Errorf("join the queue: %w", err)
			}
			waiting = append(waiting, c)
		}
		client := waiting[0]
		waiting = waiting[1:]
		defer client.Close()
		_ = l.SetDeadline(time.Now().Add(late))
		server, err := l.Accept()
		if err != nil {
			return "", err
		}
		defer server.Close()
		var s sequence
		return "", exchange(client, server, &s)
	}, err
}

// unixServer and unixClient are two members that meet at a path and at an
// abstract name, and talk over a lasting connection and over new ones.
func unixServer(string) (step, error) {
	var steps []step
	for _, name := range unixNames() {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name})
		if err != nil {
			return nil, err
		}
		lasting, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(lasting)
		if err != nil {
			return nil, err
		}
		steps = append(steps, peerStream(fd), func() (string, error) {
			_ = l.SetDeadline(time.Now().Add(time.Millisecond))
			conn, err := l.Accept()
			if err != nil {
				return "", nil // nobody waits
			}
			defer conn.Close()
			_, err = conn.Write([]byte("welcome"))
			return "", err
		})
	}
	return all(steps...), nil
}

func unixClient(string) (step, error) {
	var steps []step
	for _, name := range unixNames() {
		dial := func() (net.Conn, error) { return net.Dial("unix", name) }
		lasting, err := untilUp(dial)
		if err != nil {
			return nil, err
		}
		fd, err := rawFD(lasting.(*net.UnixConn))
		if err != nil {
			return nil, err
		}
		steps = append(steps, peerStream(fd), func() (string, error) {
			conn, err := dial()
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * late))
			buf := make([]byte, 20)
			if n, err := conn.Read(buf); string(buf[:n]) != "welcome" {
				return "", fmt.Errorf("%s: got %q, %v", name, buf[:n], err)
			}
			return "", nil
		})
	}
	return all(steps...), nil
}

// unixNames are where the two meet: in the server's data directory, which lies
// beside the client's, and nowhere in the file system.
func unixNames() []string {
	server := filepath.Join(filepath.Dir(os.Args[2]), "m0")
	return []string{filepath.Join(server, "meet"), "@pilot-victim-meet"}
}
