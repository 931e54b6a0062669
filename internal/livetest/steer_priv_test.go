//go:build linux

package livetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
)

// TestPrivSteer stops runs before, in and after the action, none of which would
// end by itself.
func TestPrivSteer(t *testing.T) { both(t, testSteer) }

func testSteer(t *testing.T, s *scene) {
	for _, c := range []struct {
		name    string
		args    []string
		ready   func(live.Status) bool
		status  int
		stopped string
		text    string // of a finding
	}{
		{"settle", []string{"--settle", "1h", "--", "true"}, func(st live.Status) bool { return waits(st) == live.ForSettle }, 0,
			model.SteeredSettle, "the user ended the watching early, after "},
		{"action", []string{"--timeout", "1h", "--", "sleep", "10000"}, func(st live.Status) bool { return waits(st) == live.ForAction }, 3,
			model.SteeredAction, "the action was not waited for"},
		{"before", []string{"--check", "sleep 10000", "--", "true"}, func(st live.Status) bool { return st.Phase == "probe" }, 3,
			"probe", "the worlds were ended by the user, before the action"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := s.at(t, s.members("run", c.args...)...)
			st := s.until(t, c.name, c.ready)
			if len(st.Worlds) != 2 || st.Worlds[0].Name != "trial" || st.Worlds[0].Processes < 2 || st.Since.IsZero() {
				t.Errorf("status %+v", st)
			}
			if got := insiders(t, run.cmd.Process.Pid); got != strings.HasSuffix(t.Name(), "/apart/"+c.name) {
				t.Errorf("carried out in the mounts of the members: %v", got)
			}
			if len(st.Waits) == 1 && (st.Waits[0].Left > time.Hour || st.Waits[0].Left < 50*time.Minute) {
				t.Errorf("%v are left", st.Waits[0].Left)
			}
			if c.stopped == model.SteeredSettle {
				s.pilot(t, 0, "extend", "1h")
				if st, _ := s.status(t); waits(st) != c.stopped || st.Waits[0].Left < time.Hour {
					t.Errorf("after it was extended: %+v", st)
				}
			}
			if text := s.pilot(t, 0, "status"); !strings.Contains(text, "trial    ") {
				t.Errorf("status:\n%s", text)
			}
			s.pilot(t, 0, "stop")
			run.exits(t, c.status)
			r := s.report(t)
			if r.Trial.Steered.Stopped != c.stopped {
				t.Errorf("steered %+v", r.Trial.Steered)
			}
			if !slices.ContainsFunc(r.Verdict.Findings, func(f model.Finding) bool { return strings.Contains(f.Message, c.text) }) {
				t.Errorf("no finding %q in %+v", c.text, r.Verdict.Findings)
			}
			s.goesOn(t)
			s.nothingLeft(t)
		})
	}
}

// insiders reports whether pilot has a child that does the run elsewhere.
func insiders(t *testing.T, pilot int) bool {
	t.Helper()
	children, err := procfs.Children(pilot)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(children, func(pid int) bool {
		args, _ := procfs.Cmdline(pid)
		return len(args) > 0 && args[0] == "pilot-agent-inside"
	})
}
