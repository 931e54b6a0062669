//go:build linux

package limittest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/series"
	"golang.org/x/sys/unix"
)

// series makes a series on the real host.
func (o order) series(got *outcome) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	times := map[string]int{}
	return agent.Engine{}.Series(ctx, o.Spec, *o.Series, o.Work, func(phase, _ string) {
		if times[phase]++; phase == o.Cancel && times[phase] == 2 {
			cancel()
		}
		got.Nice[phase] = append(got.Nice[phase], leastNice())
		if phase == "spawn" {
			dirs, _ := os.ReadDir(filepath.Join(o.Work, "worlds"))
			got.Kept = max(got.Kept, len(dirs))
		}
		if phase == "act" { // see TestPrivRounds
			_ = os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(o.Work)), "round"), fmt.Append(nil, times[phase], "\n"), 0o644)
		}
	}, func(r *model.Report) { got.Reports = append(got.Reports, r) })
}

// leastNice is the lowest nice value among the threads of this process.
func leastNice() int {
	least := 20
	tids, _ := procfs.Tasks(os.Getpid())
	for _, tid := range tids {
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err == nil {
			least = min(least, 20-n) // see getpriority(2)
		}
	}
	return least
}

// TestPrivModest: all threads of the agent go behind production's before the pause and
// after the worlds run, in each round, and what runs in worlds does not inherit it.
func TestPrivModest(t *testing.T) {
	s := stage(t, "hungry", `test "$(nice)" = 0`, here)
	got := s.agent(t, order{Series: &model.Series{Rounds: 2}})
	if len(got.Reports) != 2 || got.Err != "" {
		t.Fatalf("%d reports: %s", len(got.Reports), got.Err)
	}
	for i, r := range got.Reports {
		if r.Trial.Action == nil || !r.Trial.Action.OK() {
			t.Errorf("round %d: action %+v", i+1, r.Trial.Action)
		}
	}
	for phase, want := range map[string][]int{"copy": {5}, "snapshot": {0}, "spawn": {0, 0, 0, 0}, "act": {5, 5}, "erase": {5, 5}} {
		if !slices.Equal(got.Nice[phase], want) {
			t.Errorf("%s: nice values %v, want %v", phase, got.Nice[phase], want)
		}
	}
}

// TestPrivRounds: each round begins where the first did, with the same processes and
// the same data, and one that fails is told from those that pass.
func TestPrivRounds(t *testing.T) {
	// What is on the host and no data of a member is the host's, so that the action
	// can know which round it is. In a world it could not have been told.
	s := stage(t, "hungry", `test ! -e $DATA/mark || exit 9; echo x > $DATA/mark; sleep 0.3; read n < $ROUND; test $n != 2`, here)
	s.spec.Env = append(s.spec.Env, "ROUND="+filepath.Join(s.dir, "round"))
	const jitter = 50 * time.Millisecond
	got := s.agent(t, order{Series: &model.Series{Rounds: 3, Jitter: jitter}})
	if len(got.Reports) != 3 || got.Err != "" {
		t.Fatalf("%d reports: %s", len(got.Reports), got.Err)
	}
	for i, r := range got.Reports {
		want := 0
		if i == 1 {
			want = 1
		}
		if r.Trial.Action == nil || r.Trial.Action.Exit == nil || r.Trial.Action.Exit.Code != want {
			t.Errorf("round %d: action %+v", i+1, r.Trial.Action)
		}
		if p := r.Part; p == nil || p.Number != i+1 || p.Of != 3 || p.Jitter < 0 || p.Jitter > jitter {
			t.Errorf("round %d: part %+v", i+1, r.Part)
		}
		if r.Pause != got.Reports[0].Pause {
			t.Errorf("round %d has a pause of its own: %+v", i+1, r.Pause)
		}
		if len(r.Leftovers) > 0 {
			t.Errorf("round %d left %v", i+1, r.Leftovers)
		}
	}
	sum := series.Repeat(got.Reports, 3)
	if sum.Status != model.Fail || !strings.HasPrefix(sum.Reason, "2 of 3 passed; round 2: ") {
		t.Errorf("%s: %s", sum.Status, sum.Reason)
	}
	if got.Kept > 1 { // the trial, while the control is made
		t.Errorf("%d worlds had files while one was made", got.Kept)
	}
}

// TestPrivTrialsEndAlone: of trials side by side the one that passes its limit is
// ended, and the others go on.
func TestPrivTrialsEndAlone(t *testing.T) {
	s := stage(t, "hungry", "", here)
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line} }
	got := s.agent(t, order{Series: &model.Series{Actions: [][]string{shell("sleep 3"), shell("touch $DATA/go; sleep 30"), shell("exit 3")}}})
	if len(got.Reports) != 3 || got.Err != "" {
		t.Fatalf("%d reports: %s", len(got.Reports), got.Err)
	}
	if !strings.HasPrefix(got.Reports[0].Confinement, "cgroup v") {
		t.Skip("no control group here: ", got.Reports[0].Confinement)
	}
	for i, want := range []model.Status{model.Pass, model.Unknown, model.Fail} {
		r := got.Reports[i]
		if r.Verdict.Status != want {
			t.Errorf("trial %d: %s, want %s: %s", i+1, r.Verdict.Status, want, r.Verdict.Reason)
		}
		if ended := r.Trial.Ended != ""; ended != (i == 1) || r.Control.Ended != "" {
			t.Errorf("trial %d: ended %q, the control %q", i+1, r.Trial.Ended, r.Control.Ended)
		}
	}
}

// TestPrivSeriesCancelled: production goes on, and nothing is left, whenever a series
// is cancelled. What was found before is told.
func TestPrivSeriesCancelled(t *testing.T) {
	for _, c := range []struct {
		phase   string
		series  model.Series
		reports int
	}{
		{"act", model.Series{Rounds: 3}, 1},
		{"spawn", model.Series{Actions: [][]string{{"/bin/true"}, {"/bin/true"}, {"/bin/true"}}}, 0},
		{"settle", model.Series{Rounds: 2, Actions: [][]string{{"/bin/true"}, {"/bin/true"}}}, 2},
	} {
		t.Run(c.phase, func(t *testing.T) {
			s := stage(t, "hungry", "true", here)
			s.spec.Controls = 2
			got := s.agent(t, order{Series: &c.series, Cancel: c.phase})
			if !strings.Contains(got.Err, context.Canceled.Error()) || len(got.Reports) != c.reports {
				t.Errorf("%d reports, %q", len(got.Reports), got.Err)
			}
			if entries, err := os.ReadDir(s.work()); err != nil || len(entries) > 0 {
				t.Errorf("left in the work directory: %v, %v", entries, err)
			}
		})
	}
}
