//go:build linux

package livetest

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivShell types what a user does, and reads what the report makes of it.
func TestPrivShell(t *testing.T) { both(t, testShell) }

func testShell(t *testing.T, s *scene) {
	term := s.at(t, s.members("shell", "--settle", "200ms")...)
	term.expect(t, prompt)

	term.sealed(t)

	// It is at a terminal of its own, of the right size.
	term.do(t, "tty; stty size", `/dev/pts/0\r\n33 101\r\n`)
	term.resize(t, 20, 72)
	term.do(t, "until stty size | grep '20 72'; do :; done", `20 72\r\n`)

	// Keys go to the shell, and not to pilot. They are pressed when what they are
	// for has the terminal.
	term.enter(t, "sh -c 'echo be\"gun\"; exec sleep 1000'\n")
	term.expect(t, "begun\r\n")
	term.enter(t, "\x03")
	term.expect(t, prompt)
	term.enter(t, "sh -c 'echo be\"gun\"; exec cat'\n")
	term.expect(t, "begun\r\n")
	term.enter(t, "\x1a")
	term.expect(t, "Stopped")
	term.expect(t, prompt)
	term.enter(t, "fg\n")
	term.expect(t, "exec cat'\r\n")
	term.enter(t, "echoed\n")
	term.expect(t, "echoed\r\nechoed\r\n")
	term.enter(t, "\x04")
	term.expect(t, prompt)

	// A pilot inside of the world.
	term.do(t, s.binary+" run --match x -- sh -c 'exit 7'; echo status $?", "this is a world already(.|\n)*status 7")
	term.do(t, s.binary+" shell; echo status $?", "in a world already(.|\n)*status 64")

	if st := s.until(t, "the shell shows", func(st live.Status) bool { return waits(st) == live.ForAction }); len(st.Worlds) != 2 || st.Worlds[0].Processes < 3 {
		t.Errorf("status %+v", st)
	}

	term.do(t, "echo other > "+s.kept()+"; echo $PILOT_WORLD", `[a-z0-9]{6}\r\n`)
	term.do(t, fmt.Sprintf("kill -9 %d", s.pid), "\n")
	term.enter(t, "\x04")
	term.exits(t, 2)

	r := s.report(t)
	if r.Verdict.Status != model.Fail || !strings.Contains(r.Verdict.Reason, "SIGKILL") || !r.Spec.Shell {
		t.Errorf("%s: %s", r.Verdict.Status, r.Verdict.Reason)
	}
	if !slices.ContainsFunc(r.Trial.Files, func(f model.FileChange) bool { return f.Path == s.kept() && f.Sign == "~" }) {
		t.Errorf("changed files: %+v", r.Trial.Files)
	}
	if !slices.ContainsFunc(r.Trial.Processes, func(p model.Process) bool {
		return len(p.Args) > 1 && p.Args[1] == "run" && p.Exit != nil && p.Exit.Code == 7
	}) {
		t.Error("the run inside of the world is not a step of the report")
	}
	a := r.Trial.Action
	if a == nil || !strings.Contains(a.Output, "] # tty; stty size\n") || strings.ContainsAny(a.Output, "\r\x1b") {
		t.Errorf("the action is %+v", a)
	}
	s.goesOn(t)
	s.nothingLeft(t)
}

// TestPrivShellSteered gives a shell more time, and ends it from outside.
func TestPrivShellSteered(t *testing.T) { both(t, testShellSteered) }

func testShellSteered(t *testing.T, s *scene) {
	term := s.at(t, s.members("shell", "--timeout", "1h")...)
	term.expect(t, prompt)
	s.pilot(t, 0, "extend", "2h")
	if st := s.until(t, "more time", func(st live.Status) bool { return waits(st) == live.ForAction }); st.Waits[0].Left < 2*3600e9 {
		t.Errorf("status %+v", st)
	}
	if !term.raw(t) {
		t.Error("the terminal is not raw")
	}
	s.pilot(t, 0, "stop")
	term.expect(t, "pilot: the shell is ended\r\n")
	term.exits(t, 3)
	if r := s.report(t); r.Trial.Steered.Stopped != model.SteeredAction || r.Trial.Steered.Timeout != 2*3600e9 {
		t.Errorf("steered %+v", r.Trial.Steered)
	}
	s.goesOn(t)
	s.nothingLeft(t)
}

// TestPrivShellTimeout lets the time of a shell run out.
func TestPrivShellTimeout(t *testing.T) {
	s := stage(t, here)
	term := s.at(t, s.members("shell", "--timeout", "1s", "--settle", "100ms")...)
	term.expect(t, "pilot: the shell is ended\r\n")
	term.exits(t, 3)
	if r := s.report(t); !strings.Contains(r.Verdict.Reason, "the shell did not end within 1s") {
		t.Errorf("%s: %s", r.Verdict.Status, r.Verdict.Reason)
	}
	s.nothingLeft(t)
}

// TestPrivShellSignals sends pilot signals while it has the terminal.
func TestPrivShellSignals(t *testing.T) { both(t, testShellSignals) }

func testShellSignals(t *testing.T, s *scene) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		term := s.at(t, s.members("shell")...)
		term.expect(t, prompt)
		if err := term.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		term.exits(t, 130)
		term.expect(t, "pilot: cancelled: production goes on, the worlds are erased\r\n")
		s.goesOn(t)
		s.nothingLeft(t)
	}
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		term := s.at(t, s.members("shell")...)
		term.expect(t, prompt)
		if err := term.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		ended(t, term.cmd)
		term.restored(t)
		s.goesOn(t)
		s.sweep(t)
	}
}

// TestPrivShellStuck ends a shell that shows more than the user's terminal takes.
func TestPrivShellStuck(t *testing.T) { both(t, testShellStuck) }

func testShellStuck(t *testing.T, s *scene) {
	term := s.at(t, s.members("shell")...)
	term.expect(t, prompt)
	term.enter(t, "yes\n")
	term.expect(t, "y\r\ny\r\n")
	term.deaf()
	if err := term.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "the terminal is given back", func() bool { return !term.raw(t) })
	term.listen() // or pilot could not say how it ended
	term.exits(t, 130)
	s.goesOn(t)
	s.nothingLeft(t)
}

// TestPrivShellGuarded has a shell pass a limit.
func TestPrivShellGuarded(t *testing.T) {
	s := stage(t, here)
	term := s.at(t, s.members("shell", "--max-disk", "24M")...)
	term.expect(t, prompt)
	term.enter(t, "cat /dev/zero > "+s.data+"/large\n")
	term.expect(t, "pilot: the shell is ended\r\n")
	term.exits(t, 3)
	if r := s.report(t); !strings.Contains(r.Verdict.Reason, "the trial world was ended: it wrote") {
		t.Errorf("%s: %s", r.Verdict.Status, r.Verdict.Reason)
	}
	s.goesOn(t)
	s.nothingLeft(t)
}

// sweep wants gc to erase what a dead pilot has left.
func (s *scene) sweep(t *testing.T) {
	t.Helper()
	testenv.WaitFor(t, "the worlds end", func() bool { return len(s.processes()) == 0 })
	s.pilot(t, 0, "gc")
	s.nothingLeft(t)
	if strings.Contains(s.pilot(t, 0, "ps"), "abandoned") {
		t.Error("a dead run is still recorded")
	}
}
