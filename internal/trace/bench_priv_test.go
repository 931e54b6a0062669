//go:build linux

package trace

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How the test binary is executed again: as the first process of namespaces, and
// as a server with its client, which do little but system calls.
const (
	initName   = "pilot-trace-init"
	serverName = "pilot-trace-server"
)

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case initName:
		cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{serverName}, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		if err := cmd.Run(); err != nil {
			os.Exit(1)
		}
	case serverName:
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// serve answers as many requests as a line of the input says, and prints how
// long that took. Each request is 64 bytes that are sent, received, written to a
// file, and sent back.
func serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	server, err := l.Accept()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "pilot-trace-")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 64)
		for i := int64(0); ; i++ {
			if _, err := io.ReadFull(server, buf); err != nil {
				return
			}
			if _, err := file.WriteAt(buf, i%1024*64); err != nil {
				return
			}
			if _, err := server.Write(buf); err != nil {
				return
			}
		}
	}()
	in, buf := bufio.NewScanner(os.Stdin), make([]byte, 64)
	for in.Scan() {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		began := time.Now()
		for range n {
			if _, err := client.Write(buf); err != nil {
				return err
			}
			if _, err := io.ReadFull(client, buf); err != nil {
				return err
			}
		}
		fmt.Println(int64(time.Since(began)))
	}
	return in.Err()
}

// A subject is such a server.
type subject struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t testing.TB, name string, flags uintptr) *subject {
	t.Helper()
	s := &subject{cmd: &exec.Cmd{Path: "/proc/self/exe", Args: []string{name}, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Cloneflags: flags}}}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.in.Close(), s.cmd.Wait() })
	return s
}

// do has n requests answered, and returns how long one takes.
func (s *subject) do(t testing.TB, n int) time.Duration {
	t.Helper()
	if _, err := fmt.Fprintln(s.in, n); err != nil {
		t.Fatal(err)
	}
	if !s.out.Scan() {
		t.Fatal("the server has ended")
	}
	ns, err := strconv.ParseInt(s.out.Text(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns) / time.Duration(n)
}

// child finds the one child of a process, once it is a server.
func child(t testing.TB, pid int) int {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n)); strings.HasPrefix(string(line), serverName) {
				return n
			}
		}
	}
	t.Fatal("no server")
	return 0
}

// watch records what the world of an init does.
func watch(t testing.TB, level Level, init, phantom int) (*Tracer, *Recording) {
	t.Helper()
	tr, err := Open(level)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Attach(); err != nil {
		t.Fatal(err)
	}
	r, err := tr.Watch(World{Init: init, Phantoms: []Phantom{{HostPID: phantom, PID: phantom, Member: "server"}}})
	if err == nil {
		err = r.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.Released(time.Now())
	return tr, r
}

// BenchmarkPrivServer prints what a request takes in a world at each level, and
// outside of it meanwhile: that is what production has of it.
func BenchmarkPrivServer(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	inside := start(b, initName, syscall.CLONE_NEWPID)
	outside := start(b, serverName, 0)
	inside.do(b, 1000)
	outside.do(b, 1000)
	server := child(b, inside.cmd.Process.Pid)
	const requests, rounds = 10_000, 7
	var took [3][3][]time.Duration
	measure := func(level Level) {
		took[level][0] = append(took[level][0], inside.do(b, requests))
		took[level][1] = append(took[level][1], outside.do(b, requests))
		const calls = 200_000
		began := time.Now()
		for range calls {
			unix.Getppid()
		}
		took[level][2] = append(took[level][2], time.Since(began)/calls)
	}
	for b.Loop() {
		for range rounds {
			measure(0)
			for _, level := range []Level{Effects, Full} {
				tr, r := watch(b, level, inside.cmd.Process.Pid, server)
				measure(level)
				events, incomplete := r.Finish()
				if len(events) == 0 || level == Full && len(events) < 4*requests || len(incomplete) > 0 {
					b.Errorf("level %d: %d events, %q", level, len(events), incomplete)
				}
				if err := tr.Close(); err != nil {
					b.Error(err)
				}
			}
		}
	}
	// The fastest: what else the machine does is no matter of ours.
	for where, name := range []string{"request in the world", "request outside of it", "getppid outside of it"} {
		off := slices.Min(took[0][where])
		for level, word := range []string{"off", "effects", "full"} {
			m := slices.Min(took[level][where])
			b.Logf("%-21s %-8s %8v, ratio %.2f", name, word, m, float64(m)/float64(off))
		}
	}
}
