//go:build linux

package livetest

import (
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
)

func settling(st live.Status) bool { return waits(st) == live.ForSettle }

// TestPrivInterrupt presses Ctrl-C once.
func TestPrivInterrupt(t *testing.T) { both(t, testInterrupt) }

func testInterrupt(t *testing.T, s *scene) {
	term := s.at(t, s.members("run", "--settle", "1h", "--", "true")...)
	s.until(t, "the watching", settling)
	term.enter(t, "\x03")
	term.exits(t, 130)
	term.expect(t, `\^C`)
	term.expect(t, "pilot: cancelled: production goes on, the worlds are erased\r\n")
	_, after, _ := strings.Cut(term.text(), "^C")
	if n := strings.Count(strings.TrimSpace(after), "\n"); n > 0 {
		t.Errorf("more than one line is shown:\n%s", after)
	}
	s.goesOn(t)
	s.nothingLeft(t)
}

// TestPrivInterruptTwice has pilot find two signals at once, so that the second
// comes when the cleaning has hardly begun.
func TestPrivInterruptTwice(t *testing.T) { both(t, testInterruptTwice) }

func testInterruptTwice(t *testing.T, s *scene) {
	term := s.at(t, s.members("run", "--settle", "1h", "--", "true")...)
	s.until(t, "the watching", settling)
	pilot := term.cmd.Process
	if err := pilot.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "pilot stops", func() bool {
		stat, err := procfs.ReadStat(pilot.Pid)
		return err == nil && stat.State == 'T'
	})
	term.enter(t, "\x03")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := pilot.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	term.exits(t, 130)
	term.expect(t, "pilot: ended at once: production goes on, the worlds end; pilot gc erases what is left of them\r\n")
	s.goesOn(t)
	s.sweep(t)
	s.goesOn(t)
}
