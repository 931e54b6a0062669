//go:build linux

package membertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// TestPrivApart runs an action on a member whose files, network and host name
// only it sees.
func TestPrivApart(t *testing.T) {
	for name, id := range map[string]victim.Identity{"user": ordinary(), "root": {}} {
		t.Run(name, func(t *testing.T) {
			id.Apart = true
			s := stage(t, member{"member", id})
			pid := s.members[0].PID
			mounts := mountsOf(t, pid)
			data := s.members[0].Data[0]
			script := fmt.Sprintf("hostname; cat %[1]s/private; echo other > %[1]s/private; echo new > %[1]s/made", data)
			o := s.agent(t, request{Action: []string{"/bin/sh", "-c", script}})
			if len(o.Problems) > 0 || o.Report == nil {
				t.Fatalf("run: %v", o.Problems)
			}
			action := o.Report.Trial.Action
			if !action.OK() || action.Output != "apart\nmine" {
				t.Errorf("action: %+v", action)
			}
			if o.Report.ID != "fork" || len(o.Report.Leftovers) > 0 || len(o.Report.Trial.Incomplete) > 0 {
				t.Errorf("report %s: leftovers %q, incomplete %q", o.Report.ID, o.Report.Leftovers, o.Report.Trial.Incomplete)
			}
			changed := map[string]string{}
			for _, f := range o.Report.Trial.Files {
				changed[filepath.Base(f.Path)] = f.Sign
			}
			if changed["private"] != "~" || changed["made"] != "+" {
				t.Errorf("changed files: %+v", o.Report.Trial.Files)
			}
			for _, w := range []model.World{o.Report.Trial, o.Report.Control} {
				if len(w.Processes) == 0 || w.Processes[0].Exit != nil {
					t.Errorf("%s: phantoms %+v", w.Name, w.Processes)
				}
			}
			if got := mountsOf(t, pid); got != mounts {
				t.Errorf("the member's mounts were\n%s\nand are\n%s", mounts, got)
			}
			s.wantAlive(t) // and its file is as it was
			if left, err := os.ReadDir(filepath.Join(s.dir, "fork")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func mountsOf(t *testing.T, pid int) string {
	t.Helper()
	mounts, err := procfs.Mountinfo(pid)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Point+" "+m.FSType)
	}
	return strings.Join(points, "\n")
}

// TestPrivApartDoctor looks at members in namespaces of their own, together
// and not.
func TestPrivApartDoctor(t *testing.T) {
	id := ordinary()
	id.Apart = true
	s := stage(t, member{"member", id}, member{"member", id})
	o := s.agent(t, request{Doctor: true})
	if len(o.refusals()) == 0 || !strings.Contains(o.refusals()[0].Why, "than other members") {
		t.Errorf("two: %+v %v", o.refusals(), o.Problems)
	}
	s.members = s.members[:1]
	o = s.agent(t, request{Doctor: true})
	if len(o.refusals()) > 0 || len(o.Problems) > 0 || len(o.Diagnoses) != 1 || o.Diagnoses[0].DataBytes == 0 {
		t.Errorf("one: %+v %v", o.Diagnoses, o.Problems)
	}
}

// TestPrivApartKilled kills the agent outside, and then the one inside, in the
// middle of a run. Neither goes on without the other, nor harms production.
func TestPrivApartKilled(t *testing.T) {
	id := ordinary()
	id.Apart = true
	for _, outside := range []bool{true, false} {
		t.Run(fmt.Sprintf("outside %v", outside), func(t *testing.T) {
			s := stage(t, member{"member", id})
			input, err := json.Marshal(request{
				Members: s.members, Dir: filepath.Join(s.dir, "fork"), Action: []string{"/bin/sleep", "60"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd := exec.Command("/proc/self/exe")
			cmd.Args, cmd.Stdin, cmd.Stdout = []string{agentName}, bytes.NewReader(input), &out
			if err := s.space.Do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			inner := 0
			testenv.WaitFor(t, "the agent inside begins", func() bool {
				children, _ := procfs.Children(cmd.Process.Pid)
				for _, pid := range children {
					if args, _ := procfs.Cmdline(pid); len(args) == 1 && args[0] == "pilot-agent-inside" {
						inner = pid
					}
				}
				return inner != 0
			})
			testenv.WaitFor(t, "worlds run", func() bool { // the init of each, and later its phantom
				children, _ := procfs.Children(inner)
				return len(children) >= 2
			})
			if outside {
				_ = cmd.Process.Kill()
			} else if err := unix.Kill(inner, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			testenv.WaitFor(t, "the agent inside ends", func() bool {
				st, err := procfs.ReadStatus(inner)
				return err != nil || strings.HasPrefix(st.State, "Z")
			})
			if !outside && !strings.Contains(out.String(), "ended without a report") && !strings.Contains(out.String(), "killed") {
				t.Errorf("the agent outside says %s", out.String())
			}
			s.wantAlive(t)
			testenv.WaitFor(t, "its helper ends", func() bool {
				return procfs.Tracer(s.members[0].PID) == 0
			})
			sweepGroups(t, filepath.Base(s.dir))
		})
	}
}

// sweepGroups expects that nothing holds the control groups of a killed agent,
// and erases them.
func sweepGroups(t *testing.T, label string) {
	t.Helper()
	hierarchies, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "the agent's control groups go", func() bool {
		if _, err := cgroup.Sweep(hierarchies); err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, h := range hierarchies {
			found, _ := filepath.Glob(filepath.Join(h.Point, cgroup.Prefix+label+"*"))
			left += len(found)
		}
		return left == 0
	})
}
