//go:build linux

package faulttest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// A scene is production for one test: a victim or a cluster.
type scene struct {
	members []model.Member
	dir     string // of the runs
	pause   time.Duration
	// What follows is empty for a cluster.
	victims []*victim
	usual   []custom // of each victim
}

// stageVictims starts victims, of which runs fork all, and learns what is usual
// of them.
func stageVictims(t *testing.T, kinds ...string) *scene {
	t.Helper()
	s := &scene{dir: filepath.Join(tempDir(t), "run"), pause: time.Second}
	for _, kind := range kinds {
		v := launch(t, kind)
		s.victims, s.members = append(s.victims, v), append(s.members, v.member())
	}
	s.pilot(t, "the first run") // runtimes grow when they are stopped
	for _, v := range s.victims {
		s.usual = append(s.usual, learn(v.cmd.Process.Pid, v.kind == "c"))
	}
	return s
}

// rounds reads how many rounds each thread of each victim has done.
func (s *scene) rounds() (out []map[string]int64) {
	for _, v := range s.victims {
		out = append(out, v.rounds())
	}
	return out
}

// busy waits until every thread of the victims has done a round since before.
func (s *scene) busy(t *testing.T, before []map[string]int64) {
	t.Helper()
	for i, v := range s.victims {
		v.busy(t, before[i])
	}
}

// sound wants that the victims find nothing wrong with themselves.
func (s *scene) sound(t *testing.T) {
	t.Helper()
	for _, v := range s.victims {
		if wrong := v.wrong(); wrong != "" {
			t.Fatalf("victim %s finds: %s", v.kind, wrong)
		}
	}
}

// spec pilots an action that does nothing.
func (s *scene) spec() model.Spec {
	return model.Spec{
		Members: s.members, Action: []string{"/bin/true"}, Dir: "/", Env: os.Environ(),
		MaxPause: s.pause, Timeout: patience / 2, Settle: 10 * time.Millisecond,
	}
}

// tries is how often a run is made that pilot itself gives up: production may
// hold something that cannot be forked at just that moment, such as the end of
// a pipe to a child that has not executed its program yet.
const tries = 4

// run makes a run with faults, again while pilot gives up before any of them.
func (s *scene) run(t *testing.T, faults ...fault.Injection) (e end) {
	t.Helper()
	for range tries {
		e = start(t, request{Spec: s.spec(), Dir: s.dir, Faults: faults}).wait(t)
		if e.killed || e.Err == "" || e.Injected || len(e.hits) > 0 {
			break
		}
		t.Logf("once more: %s", e.Err)
	}
	return e
}

// pilot makes an undisturbed run, which must pass.
func (s *scene) pilot(t *testing.T, what string) {
	t.Helper()
	e := s.run(t)
	if e.killed || e.Err != "" || len(e.Left) > 0 || e.Status != model.Pass {
		t.Fatalf("%s: killed %t in %q: %q, verdict %s %s, left %v: %s", what, e.killed, e.phase, e.Err, e.Status, e.Reason, e.Left, e.said)
	}
}

// unchanged wants production to look as it always did, maybe with an arena.
func (s *scene) unchanged(t *testing.T, when string, arena bool) {
	t.Helper()
	for i, c := range s.usual {
		for key, value := range c.lasting(arena) {
			t.Errorf("%s has, %s: %s: %s", s.members[i].Name, when, key, value)
		}
	}
}
