//go:build linux

package deadlinetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// longPause are victims that take some tens of milliseconds to capture.
func longPause(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	s.start(t, 2, "slow", 3000)
	s.start(t, 2, "threads", 10)
	return s
}

// awaitPause waits until every victim stands, and reports whether that came
// before done was closed. Threads that are asked before the pause stand alone.
func (s *scene) awaitPause(t *testing.T, done <-chan struct{}) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Microsecond) {
		stands := true
		for _, v := range s.victims {
			stands = stands && v.silent() > 6*time.Millisecond
		}
		if stands {
			return true
		}
		select {
		case <-done:
			return false
		default:
		}
	}
	t.Fatal("no pause")
	return false
}

// freed waits until every victim runs, and returns how long that took.
func (s *scene) freed(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	for _, v := range s.victims {
		at := v.count()
		waitFor(t, v.mode+" runs", func() bool { return v.count() > at })
	}
	return time.Since(began)
}

// ended closes its result when cmd has ended.
func ended(cmd *exec.Cmd) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return done
}

// TestPrivAgentKilled kills agents inside of the pause.
func TestPrivAgentKilled(t *testing.T) {
	s := longPause(t)
	var longest time.Duration
	hits := 0
	for range 15 {
		a := s.agent(t, 1, 2*time.Second)
		done := ended(a.cmd)
		hit := s.awaitPause(t, done)
		_ = a.cmd.Process.Kill()
		if hit {
			hits++
			longest = max(longest, s.freed(t))
		}
		<-done
		for _, v := range s.victims {
			v.unharmed(t)
		}
	}
	if hits == 0 {
		t.Error("no agent was killed in the pause")
	}
	if longest > slack {
		t.Errorf("production stood for %v after the agent was dead", longest)
	}
	row(t, "agent killed in the pause", 2*time.Second, tally{failed: hits, stopped: longest}, "time from the kill")
}

// TestPrivAgentHangs stops agents inside of the pause for good.
func TestPrivAgentHangs(t *testing.T) {
	s := longPause(t)
	const limit, deadman = 100 * time.Millisecond, 150 * time.Millisecond
	for _, v := range s.victims {
		v.reset(t)
	}
	hits := 0
	for range 5 {
		a := s.agent(t, 1, limit)
		done := ended(a.cmd)
		if !s.awaitPause(t, done) {
			continue
		}
		hits++
		_ = a.cmd.Process.Signal(unix.SIGSTOP)
		s.freed(t)
		<-done // it does not go on, so something has killed it
		if ws := a.cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != unix.SIGKILL {
			t.Errorf("the agent ended by %v", a.cmd.ProcessState)
		}
		for _, v := range s.victims {
			v.unharmed(t)
		}
	}
	sums := sum(nil, s.victims...)
	sums.failed = hits
	sums.within(t, limit+deadman)
	if hits == 0 {
		t.Error("no agent hung in the pause")
	}
	row(t, "agent hangs in the pause", limit, sums, "the kernel kills it %v after the deadline", deadman)
}

// TestPrivBusyMachine takes snapshots while other processes want all processors.
func TestPrivBusyMachine(t *testing.T) {
	s := longPause(t)
	for range 6 {
		hog := exec.Command("sh", "-c", "while :; do :; done")
		if err := hog.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = hog.Process.Kill()
			_ = hog.Wait()
		})
	}
	const limit = 150 * time.Millisecond
	sums := sum(s.take(t, 20, limit), s.victims...)
	sums.within(t, limit)
	for _, v := range s.victims {
		v.clean(t)
	}
	row(t, "6 hogs on the processors", limit, sums, "no agent was killed for being late")
}

// pilot builds the command.
func pilot(t *testing.T, s *scene) string {
	t.Helper()
	path := filepath.Join(s.dir, "pilot")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/pilotexec/pilot/cmd/pilot").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// signalTime is how long Go's runtime may take to pass a signal on: other threads
// than the tracer do it, which must get a processor. It is milliseconds on a
// machine that has one free. The kernel's part, after SIGKILL, is quicker.
const signalTime = 150 * time.Millisecond

// TestPrivCommandEnds ends `pilot run` inside of the pause in every way there is.
func TestPrivCommandEnds(t *testing.T) {
	s := longPause(t)
	binary := pilot(t, s)
	var pids []string
	for _, v := range s.victims {
		pids = append(pids, fmt.Sprint(v.pid))
	}
	for _, c := range []struct {
		name string
		end  func(p *os.Process, terminal *os.File) error
		left bool // the arena may stay
	}{
		{"SIGKILL", func(p *os.Process, _ *os.File) error { return p.Kill() }, true},
		{"SIGTERM", func(p *os.Process, _ *os.File) error { return p.Signal(unix.SIGTERM) }, false},
		{"SIGHUP", func(p *os.Process, _ *os.File) error { return p.Signal(unix.SIGHUP) }, false},
		{"closed terminal", func(_ *os.Process, terminal *os.File) error { return terminal.Close() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			terminal, line := openTerminal(t)
			cmd := exec.Command(binary, "run", "--pid", strings.Join(pids, ","), "--", "true")
			cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(s.dir, "state"), "PILOT_MAX_PAUSE=2s")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := s.space.Do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			_ = line.Close()
			done := ended(cmd)
			if !s.awaitPause(t, done) {
				t.Fatalf("it ended before the pause: %v\n%s", cmd.ProcessState, text(terminal))
			}
			if err := c.end(cmd.Process, terminal); err != nil {
				t.Fatal(err)
			}
			took := s.freed(t)
			<-done
			most := slack
			if !c.left {
				most = signalTime
			}
			if took > most {
				t.Errorf("production stood for %v after that", took)
			}
			if !c.left && cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("it ended with %v", cmd.ProcessState)
			}
			for _, v := range s.victims {
				if c.left {
					v.unharmed(t)
				} else {
					v.clean(t)
				}
			}
			row(t, "pilot run ended in the pause by "+c.name, 2*time.Second, tally{failed: 1, stopped: took}, "time from there")
		})
		if c.left { // what it left is for gc
			gc := exec.Command(binary, "gc")
			gc.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(s.dir, "state"))
			if out, err := gc.CombinedOutput(); err != nil {
				t.Fatalf("gc: %v\n%s", err, out)
			}
			for _, v := range s.victims {
				v.clean(t)
			}
		}
	}
}

// openTerminal makes a pseudo-terminal, pty(7).
func openTerminal(t *testing.T) (terminal, line *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return terminal, line
}

// text is what was written to a terminal so far.
func text(terminal *os.File) string {
	buf := make([]byte, 64<<10)
	n, err := terminal.Read(buf)
	if err != nil && !errors.Is(err, unix.EIO) {
		return err.Error()
	}
	return string(bytes.TrimSpace(buf[:max(0, n)]))
}
