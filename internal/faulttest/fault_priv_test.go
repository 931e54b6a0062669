//go:build linux

package faulttest

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/testenv"
)

// delay is what the effect takes, and lasts longer than everything that stops
// a thread.
const delay = 40 * time.Millisecond

// before are the faults that lead to points which an undisturbed run does not
// come to.
var before = map[fault.Point][]fault.Injection{
	// A signal arrives while a thread is about to be stopped.
	fault.SignalSeen: {{Point: fault.ThreadSeized, Effect: fault.Delay, Delay: delay}},
	// The pause fails before the clones are begun.
	fault.ForkDisarmed: {{Point: fault.ForkArmed, Effect: fault.Error}},
}

func TestPrivFaultsC(t *testing.T)    { testFaults(t, "c") }
func TestPrivFaultsGo(t *testing.T)   { testFaults(t, "go") }
func TestPrivFaultsJava(t *testing.T) { testFaults(t, "java") }

// testFaults makes every point fail in every way. After an error the next run is
// the one that is only delayed; after a kill it is one that nothing disturbs.
func testFaults(t *testing.T, kind string) {
	t.Parallel()
	s := stageVictims(t, kind)
	for _, p := range fault.All() {
		if p.InContainer() {
			continue // package membertest has these
		}
		for _, effect := range effects(kind, p) {
			t.Run(fmt.Sprintf("%s/%s", p, effect), func(t *testing.T) { s.strike(t, p, effect, 0) })
		}
		s.pilot(t, "the run after "+p.String())
		s.unchanged(t, "after a later run", false)
	}
}

// effects are what a point is to do. Where there are to be fewer, it does each beside
// a program of another kind.
func effects(kind string, p fault.Point) []fault.Effect {
	all := []fault.Effect{fault.Error, fault.Delay, fault.Kill}
	turn := slices.Index([]string{"c", "go", "java"}, kind)
	return testenv.Faults(all, int(p)+turn)
}

// perMember are the points that a run comes to once for each member.
var perMember = []fault.Point{
	fault.HelperBorn, fault.HelperEmptied, fault.FallbacksWritten, fault.MemberSurveyed, fault.ForkArmed,
	fault.ThreadsStopped, fault.ForkStarted, fault.SeedBorn, fault.SeedAdopted, fault.SeedFinished,
	fault.PhantomForked, fault.DescriptorsInstalled, fault.SeedKilled, fault.SeedReaped, fault.HelperEnded, fault.ArenaUnmapped,
}

// TestPrivFaultsPair makes a run fail in the second of two members, when the
// first is through.
func TestPrivFaultsPair(t *testing.T) {
	t.Parallel()
	s := stageVictims(t, "c", "go")
	for _, p := range perMember {
		for _, effect := range []fault.Effect{fault.Error, fault.Kill} {
			t.Run(fmt.Sprintf("%s/%s", p, effect), func(t *testing.T) { s.strike(t, p, effect, 1) })
		}
	}
	s.pilot(t, "the last run")
	s.unchanged(t, "at the end", false)
}

// strike makes one run fail, and wants nothing to be seen of it in production.
func (s *scene) strike(t *testing.T, p fault.Point, effect fault.Effect, skip int) {
	rounds := s.rounds()
	// In the last of several members.
	list := append(before[p], fault.Injection{Point: p, Effect: effect, Delay: delay, Skip: skip})
	if p == fault.SignalSeen {
		defer s.hangUp()()
	}
	e := s.run(t, list...)
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
	// A later agent clears what one that was killed has left, which is an arena
	// at most. After an error that agent is the next one, which is only delayed.
	s.unchanged(t, "after the fault", e.killed)
	s.busy(t, rounds)
	s.sound(t)
	if left, _ := filepath.Glob(s.dir + "/*"); len(left) > 0 && !e.killed {
		t.Errorf("files are left: %v", left)
	}
}

// hangUp sends the victim a signal every millisecond, until stop is called. The
// one in Java gets none else.
func (s *scene) hangUp() (stop func()) {
	if s.victims[0].kind != "java" {
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
				_ = s.victims[0].cmd.Process.Signal(syscall.SIGHUP)
			}
		}
	})
	return func() {
		close(done)
		sending.Wait()
	}
}
