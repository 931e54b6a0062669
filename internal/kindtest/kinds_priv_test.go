//go:build linux

package kindtest

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/testenv"
	"golang.org/x/sys/unix"
)

// one forks a single victim.
func one(t *testing.T, kind string) outcome {
	t.Helper()
	return stage(t, member{kind: kind}).fork(t)
}

func TestPrivPrivateMemory(t *testing.T)   { one(t, "private") }
func TestPrivDontFork(t *testing.T)        { one(t, "dontfork") }
func TestPrivSharedFile(t *testing.T)      { one(t, "shmfile") }
func TestPrivSharedAnonymous(t *testing.T) { one(t, "shmanon") }
func TestPrivMemfd(t *testing.T)           { one(t, "memfd") }
func TestPrivFile(t *testing.T)            { one(t, "file") }
func TestPrivDeletedFile(t *testing.T)     { one(t, "deleted") }
func TestPrivDirectory(t *testing.T)       { one(t, "dirfd") }
func TestPrivLocks(t *testing.T)           { one(t, "locks") }
func TestPrivDevices(t *testing.T)         { one(t, "devices") }
func TestPrivPipe(t *testing.T)            { one(t, "pipe") }
func TestPrivFifo(t *testing.T)            { one(t, "fifo") }
func TestPrivEventfd(t *testing.T)         { one(t, "eventfd") }
func TestPrivTimerfd(t *testing.T)         { one(t, "timerfd") }
func TestPrivSignalfd(t *testing.T)        { one(t, "signalfd") }
func TestPrivEpoll(t *testing.T)           { one(t, "epoll") }
func TestPrivInotify(t *testing.T)         { one(t, "inotify") }
func TestPrivUnixPairs(t *testing.T)       { one(t, "unixpair") }
func TestPrivUnixListener(t *testing.T)    { one(t, "unixlisten") }
func TestPrivSharedPort(t *testing.T)      { one(t, "tcp-port") }
func TestPrivUnixQueue(t *testing.T)       { one(t, "unixqueue") }
func TestPrivNetlink(t *testing.T)         { one(t, "netlink") }
func TestPrivTimers(t *testing.T)          { one(t, "timers") }
func TestPrivPendingSignals(t *testing.T)  { one(t, "pending") }
func TestPrivThreads(t *testing.T)         { one(t, "threads") }
func TestPrivFloat(t *testing.T)           { one(t, "float") }
func TestPrivProcess(t *testing.T)         { one(t, "process") }

func file(t *testing.T, fd int, err error) *os.File {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "passed")
}

func TestPrivMemfdOfTwo(t *testing.T) {
	testenv.Privileged(t)
	fd, err := unix.MemfdCreate("passed", unix.MFD_CLOEXEC)
	a := file(t, fd, err)
	fd, err = unix.FcntlInt(a.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	o := stage(t,
		member{kind: "shm-a", files: []*os.File{a}},
		member{kind: "shm-b", files: []*os.File{file(t, fd, err)}},
	).fork(t)
	wantMotion(t, o)
}

// wantMotion wants the notes of a log, which count something that takes both
// members, to differ after the cut.
func wantMotion(t *testing.T, o outcome) {
	t.Helper()
	for _, w := range o.Worlds {
		for i, log := range w.Logs {
			lines := strings.Split(strings.TrimSpace(log), "\n")
			at := min(w.AtCut[i], len(lines)-1)
			note := func(n int) string { f := strings.Fields(lines[n]); return strings.Join(f[2:], " ") }
			if note(at) == note(len(lines)-1) {
				t.Errorf("%s: phantom %d stands still since the cut, at %q", w.Name, i, lines[at])
			}
		}
	}
}

func TestPrivPipeOfTwo(t *testing.T) {
	testenv.Privileged(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := stage(t,
		member{kind: "pipe-writer", files: []*os.File{w}},
		member{kind: "pipe-reader", files: []*os.File{r}},
	).fork(t)
	wantMotion(t, o)
}

func TestPrivUnixPairsOfTwo(t *testing.T) {
	s := newScene(t)
	a, b := member{kind: "unix-a"}, member{kind: "unix-b"}
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		var p [2]int
		err := s.space.Do(func() (err error) { // in the scene's network, as the victims
			p, err = unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
			return err
		})
		a.files = append(a.files, file(t, p[0], err))
		b.files = append(b.files, file(t, p[1], err))
	}
	wantMotion(t, s.play(t, a, b).fork(t))
}

func TestPrivUnixOfTwo(t *testing.T) {
	stage(t, member{kind: "unix-server"}, member{kind: "unix-client"}).fork(t)
}

func TestPrivTCP(t *testing.T) {
	stage(t, member{kind: "tcp-server"}, member{kind: "tcp-client"}).fork(t)
}

// TestPrivUnaccepted forks a connection that was never accepted and has bytes,
// which nobody can read. It must not live on without them.
func TestPrivUnaccepted(t *testing.T) {
	o := one(t, "unaccepted")
	wantDead(t, o, " dead dead\n")
	for _, w := range o.Worlds {
		if len(w.Gaps) < 2 {
			t.Errorf("%s: gaps %v", w.Name, w.Gaps)
		}
	}
}

// TestPrivMPTCPFull forks a connection whose send queue cannot be read.
func TestPrivMPTCPFull(t *testing.T) {
	wantDead(t, one(t, "mptcp-full"), " dead\n")
}

func TestPrivMPTCP(t *testing.T) {
	stage(t, member{kind: "mptcp-server"}, member{kind: "mptcp-client"}).fork(t)
}

func TestPrivUDP(t *testing.T) {
	stage(t, member{kind: "udp-server"}, member{kind: "udp-client"}).fork(t)
}

// wantDead wants a phantom to have noticed within two rounds that connections
// are lost, which it notes by saying so at the end of a line.
func wantDead(t *testing.T, o outcome, says string) {
	t.Helper()
	for _, w := range o.Worlds {
		if n := strings.Count(w.Logs[0], says); n < rounds-2 {
			t.Errorf("%s: a connection lives on: only %d of %d rounds since the cut say %q", w.Name, n, rounds, says)
		}
	}
}

// TestPrivOutside forks one end of a connection whose other end is no member.
func TestPrivOutside(t *testing.T) {
	testenv.Privileged(t)
	var l net.Listener
	echo := func(s *scene) (string, error) {
		err := s.space.Do(func() (err error) {
			l, err = net.Listen("tcp", "127.0.0.1:0")
			return err
		})
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = io.Copy(conn, conn)
				}()
			}
		}()
		return l.Addr().String(), nil
	}
	o := stage(t, member{kind: "outside", prepare: func(s *scene, dir string) error {
		addr, err := echo(s)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "address"), []byte(addr), 0o644)
	}})
	wantDead(t, o.fork(t), " dead\n")
	text, err := os.ReadFile(o.logs[0])
	if err != nil || strings.Contains(string(text), "dead") {
		t.Errorf("production lost its connection: %v", err)
	}
}

// TestPrivTerminal forks a victim on a terminal. What the phantom writes does
// not come out of it.
func TestPrivTerminal(t *testing.T) {
	testenv.Privileged(t)
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ptmx.Close()
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		buf := make([]byte, 4096)
		rest := ""
		for {
			n, err := unix.Read(int(ptmx.Fd()), buf)
			if err != nil || n == 0 {
				return
			}
			rest += string(buf[:n])
			for {
				line, after, ok := strings.Cut(rest, "\r\n")
				if !ok {
					break
				}
				lines <- line
				rest = after
			}
		}
	}()
	o := stage(t, member{kind: "tty", stdout: tty}).fork(t)
	for want := 0; len(lines) > 0; want++ {
		if got := <-lines; got != fmt.Sprintf("round %d", want) {
			t.Fatalf("the terminal shows %q, want round %d", got, want)
		}
	}
	for _, w := range o.Worlds {
		if want := fmt.Sprintf("round %d\n", w.AtCut[0]+rounds/2); !strings.Contains(w.Outputs[0], want) {
			t.Errorf("%s: the log has not %q: %q", w.Name, want, w.Outputs[0])
		}
	}
}

// TestPrivRefused holds what a world cannot have, and asks before anything is
// stopped.
func TestPrivRefused(t *testing.T) {
	for _, c := range []struct{ kind, want string }{
		{"io_uring", "anon_inode:[io_uring]"},
		{"perf_event", "anon_inode:[perf_event]"},
		{"bpf", "anon_inode:bpf-map"},
		{"userfaultfd", "anon_inode:[userfaultfd]"},
		{"sysv", "SysV shared memory"},
		{"bigshm", "shared memory"},
		{"packet", "socket:[packet]"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			s := stage(t, member{kind: c.kind})
			o := s.agent(t, request{Doctor: true})
			if len(o.Problems) > 0 || len(o.Diagnoses) != 1 {
				t.Fatalf("doctor: %v", o.Problems)
			}
			for _, r := range o.Diagnoses[0].Refusals {
				if r.Kind == c.want {
					return
				}
			}
			t.Errorf("not refused as %s: %+v", c.want, o.Diagnoses[0].Refusals)
		})
	}
}
