//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// scene is a victim with what is usual of it.
type scene struct {
	*victim
	usual custom
	dir   string // of the runs
}

func stage(t *testing.T, kind string) *scene {
	t.Helper()
	v := launch(t, kind)
	s := &scene{victim: v, dir: filepath.Join(filepath.Dir(v.dir), "run")}
	s.pilot(t, "the first run") // runtimes grow by being stopped
	s.usual = learn(v.cmd.Process.Pid, kind == "c")
	return s
}

// unchanged wants production to look as it always did, maybe with an arena.
func (s *scene) unchanged(t *testing.T, when string, arena bool) {
	t.Helper()
	for key, value := range s.usual.lasting(s.cmd.Process.Pid, s.kind == "c", arena) {
		t.Errorf("production has, %s: %s: %s", when, key, value)
	}
}

// spec pilots an action that does nothing.
func (s *scene) spec() model.Spec {
	return model.Spec{
		Members: []model.Member{s.member()}, Action: []string{"/bin/true"}, Dir: "/", Env: os.Environ(),
		Probes:   []model.Probe{{Name: "up", Command: []string{"/bin/true"}}},
		MaxPause: time.Second, Timeout: 10 * time.Second, Settle: 10 * time.Millisecond,
	}
}

// pilot makes an undisturbed run, which must pass.
func (s *scene) pilot(t *testing.T, what string) {
	t.Helper()
	e := start(t, request{Spec: s.spec(), Dir: s.dir}).wait(t)
	if e.killed || e.Err != "" || len(e.Left) > 0 || e.Status != model.Pass {
		t.Fatalf("%s: killed %t in %q: %q, verdict %s %s, left %v: %s", what, e.killed, e.phase, e.Err, e.Status, e.Reason, e.Left, e.said)
	}
}

// delay is what the effect takes, and lasts longer than everything that stops
// a thread.
const delay = 40 * time.Millisecond

// before are the faults that lead to points which an undisturbed run does not
// come to.
var before = map[fault.Point][]fault.Injection{
	// A signal arrives while a thread is about to be stopped.
	fault.SignalSeen: {{Point: fault.ThreadSeized, Effect: fault.Delay, Delay: delay}},
	// The pause fails before the clones are begun.
	fault.ForkDisarmed: {{Point: fault.ThreadsStopped, Effect: fault.Error}},
}

func TestPrivFaultsC(t *testing.T)    { testFaults(t, "c") }
func TestPrivFaultsGo(t *testing.T)   { testFaults(t, "go") }
func TestPrivFaultsJava(t *testing.T) { testFaults(t, "java") }

// testFaults makes every point fail in every way.
func testFaults(t *testing.T, kind string) {
	t.Parallel()
	s := stage(t, kind)
	for _, p := range fault.All() {
		for _, effect := range []fault.Effect{fault.Error, fault.Delay, fault.Kill} {
			t.Run(fmt.Sprintf("%s/%s", p, effect), func(t *testing.T) { s.strike(t, p, effect) })
		}
	}
}

// strike makes one run fail, and wants nothing to be seen of it in production,
// not even of the part that a later agent clears.
func (s *scene) strike(t *testing.T, p fault.Point, effect fault.Effect) {
	rounds := s.rounds()
	list := append(before[p], fault.Injection{Point: p, Effect: effect, Delay: delay})
	r := start(t, request{Spec: s.spec(), Dir: s.dir, Faults: list})
	if p == fault.SignalSeen {
		defer s.hangUp()()
	}
	e := r.wait(t)
	if !slices.Contains(e.hits, p) {
		t.Fatalf("the run never came to %q, it ended in phase %q: %s %s", p, e.phase, e.Err, e.said)
	}
	if want := effect == fault.Kill; e.killed != want {
		t.Errorf("the agent was killed: %t, want %t: %s", e.killed, want, e.said)
	}
	failed := slices.ContainsFunc(list, func(in fault.Injection) bool { return in.Effect == fault.Error })
	if told := e.Injected || len(e.Left) > 0; !e.killed && told != failed {
		t.Errorf("the agent says %q, verdict %s, left %q", e.Err, e.Status, e.Left)
	}
	s.unchanged(t, "after the fault", e.killed)
	s.busy(t, rounds)
	if effect != fault.Delay {
		s.pilot(t, "the run after the fault")
		s.unchanged(t, "after a later run", false)
	}
	if wrong := s.wrong(); wrong != "" {
		t.Fatalf("the victim finds: %s", wrong)
	}
	if left, _ := filepath.Glob(s.dir + "/*"); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// hangUp sends the victim a signal every millisecond, until stop is called. The
// one in Java gets none else.
func (s *scene) hangUp() (stop func()) {
	if s.kind != "java" {
		return func() {}
	}
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				_ = s.cmd.Process.Signal(syscall.SIGHUP)
			}
		}
	})
	return func() {
		close(done)
		sending.Wait()
	}
}
