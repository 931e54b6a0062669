//go:build linux

package membertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/victim"
)

// TestPrivApartSeries makes rounds of several trials and controls of a member whose
// files and network only it sees: the agent in its namespaces makes them all.
func TestPrivApartSeries(t *testing.T) {
	id := ordinary()
	id.Apart = true
	s := stage(t, member{"member", id})
	testSeries(t, s, s.members[0].Data[0]+"/private")
	s.wantAlive(t)
	if left, err := os.ReadDir(filepath.Join(s.dir, "fork")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestPrivRootlessSeries does so in a user's container, whose worlds are all in its
// pid namespace.
func TestPrivRootlessSeries(t *testing.T) {
	for name, first := range map[string]bool{"first": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			s := contain(t, rootless, first, member{"inside", victim.Identity{}})
			testSeries(t, s, "")
			s.wantAlive(t)
			s.wantClean(t)
		})
	}
}

// testSeries makes two rounds of three actions. file is one of the member's, which
// every trial finds as it was; none when there is no such.
func testSeries(t *testing.T, s *scene, file string) {
	line := func(code int) []string {
		script := fmt.Sprintf("exit %d", code)
		if file != "" {
			script = fmt.Sprintf("test $(cat %[1]s) = mine || exit 9; echo other > %[1]s; %s", file, script)
		}
		return []string{"/bin/sh", "-c", script}
	}
	plan := model.Series{Actions: [][]string{line(0), line(1), line(2)}, Rounds: 2}
	o := s.agent(t, request{Action: line(0), Series: &plan, Controls: 2})
	if len(o.Problems) > 0 || len(o.Reports) != 6 {
		t.Fatalf("%d reports: %v", len(o.Reports), o.Problems)
	}
	for i, r := range o.Reports {
		if a := r.Trial.Action; a == nil || a.Exit == nil || a.Exit.Code != i%3 {
			t.Errorf("report %d: action %+v", i+1, a)
		}
		if r.Part == nil || r.Part.Number != i+1 || r.Part.Of != 6 || !r.Part.Compared || r.ID != "fork" {
			t.Errorf("report %d: id %s, part %+v", i+1, r.ID, r.Part)
		}
		if len(r.Leftovers) > 0 || len(r.Trial.Incomplete) > 0 || len(r.Control.Incomplete) > 0 {
			t.Errorf("report %d: leftovers %q, incomplete %q, %q", i+1, r.Leftovers, r.Trial.Incomplete, r.Control.Incomplete)
		}
		for _, w := range []model.World{r.Trial, r.Control} {
			if len(w.Processes) == 0 || w.Processes[0].Exit != nil {
				t.Errorf("report %d: %s: phantoms %+v", i+1, w.Name, w.Processes)
			}
		}
	}
}
