//go:build linux

package kindtest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
)

func TestPrivScheduled(t *testing.T)  { one(t, "scheduled") }
func TestPrivTraits(t *testing.T)     { one(t, "traits") }
func TestPrivUndumpable(t *testing.T) { one(t, "undumpable") }
func TestPrivTimeouts(t *testing.T)   { one(t, "timeouts") }
func TestPrivRearm(t *testing.T)      { one(t, "rearm") }

// notes returns what a log says before and after the cut of world w. The round
// under way at the cut, which may be mixed of both, is in neither.
func notes(w *world) (before, after []string) {
	lines := strings.Split(strings.TrimSpace(w.Logs[0]), "\n")
	for i, line := range lines {
		_, note, _ := strings.Cut(strings.TrimPrefix(line, "ok "), " ")
		switch {
		case i < w.AtCut[0]:
			before = append(before, note)
		case i > w.AtCut[0]:
			after = append(after, note)
		}
	}
	return before, after
}

// wantNotes wants every note of a phantom to be the one given, and those of its
// origin to be another.
func wantNotes(t *testing.T, o outcome, origin, phantom string) {
	t.Helper()
	for _, w := range o.Worlds {
		before, after := notes(w)
		for _, note := range before {
			if note != origin {
				t.Fatalf("the origin notes %q, want %q", note, origin)
			}
		}
		for _, note := range after {
			if note != phantom {
				t.Fatalf("%s: the phantom notes %q, want %q", w.Name, note, phantom)
			}
		}
	}
}

// wantGap wants a gap about object, and a single one.
func wantGap(t *testing.T, gaps []model.Gap, object string) {
	t.Helper()
	n := 0
	for _, g := range gaps {
		if strings.Contains(g.Object, object) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d gaps about %q, want one: %+v", n, object, gaps)
	}
}

// TestPrivRealtime wants phantoms to have no real-time priority.
func TestPrivRealtime(t *testing.T) {
	s := stage(t, member{kind: "realtime"})
	o := s.fork(t)
	// RR with priority 5, nice 7, FIFO with priority 3.
	before, _ := notes(o.Worlds[0])
	limit, _ := strings.CutPrefix(before[0], "2/5/0 0/0/7 1/3/0, ")
	if limit == "limit 0" {
		t.Log("nothing may raise RLIMIT_RTPRIO here, so that it is lowered is not seen")
	}
	wantNotes(t, o, "2/5/0 0/0/7 1/3/0, "+limit, "0/0/0 0/0/7 0/0/0, limit 0")
	for _, w := range o.Worlds {
		wantGap(t, w.Gaps, "real-time priority")
	}
	wantGap(t, s.diagnose(t), "real-time priority")
}

// TestPrivLocked wants phantoms to lock no memory, of which there would then be
// twice as much.
func TestPrivLocked(t *testing.T) {
	s := stage(t, member{kind: "locked"})
	wantNotes(t, s.fork(t), "256 kB", "0 kB")
	wantGap(t, s.diagnose(t), "locked memory")
}

// TestPrivGroup wants it to be told that a phantom leads a session of its own.
func TestPrivGroup(t *testing.T) {
	wantGap(t, stage(t, member{kind: "private"}).diagnose(t), "session")
}

// diagnose asks what the worlds would have otherwise than the victim.
func (s *scene) diagnose(t *testing.T) []model.Gap {
	t.Helper()
	o := s.agent(t, request{Doctor: true})
	if len(o.Problems) > 0 || len(o.Diagnoses) != 1 || len(o.Diagnoses[0].Refusals) > 0 {
		t.Fatalf("doctor: %v, %+v", o.Problems, o.Diagnoses)
	}
	return o.Diagnoses[0].Gaps
}

// TestPrivCapable wants a phantom to have the capabilities of its origin, of
// each set, but for those that nothing in a world has.
func TestPrivCapable(t *testing.T) {
	o := one(t, "capable")
	const sysAdmin, sysNice, kill = 1 << 21, 1 << 23, 1 << 5
	for _, w := range o.Worlds {
		before, after := notes(w)
		had, has := capabilities(t, before[0]), capabilities(t, after[len(after)-1])
		for i, name := range []string{"inheritable", "permitted", "effective", "bounding", "ambient"} {
			switch lost := had[i] &^ has[i]; {
			case has[i]&^had[i] != 0:
				t.Errorf("%s: %s capabilities %#x were added", w.Name, name, has[i]&^had[i])
			case i != 0 && i != 4 && lost&sysAdmin == 0 || lost&^had[3] != 0 || i == 0 && lost != 0 || i == 4 && lost != 0:
				t.Errorf("%s: %s capabilities %#x were lost", w.Name, name, lost)
			}
		}
		if has[4] == 0 || has[3]&sysNice != 0 || has[2]&kill != 0 || has[1]&kill == 0 {
			t.Errorf("%s: capabilities %#x", w.Name, has)
		}
	}
}

func capabilities(t *testing.T, note string) (out []uint64) {
	t.Helper()
	for field := range strings.SplitSeq(note, ", ") {
		n, err := strconv.ParseUint(field, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// TestPrivClocks dawdles while the worlds are made. Monotonic clocks must not
// notice, the wall clock must, and what is reported must be true.
func TestPrivClocks(t *testing.T) {
	const hold, tolerance = 2 * time.Second, 20 * time.Millisecond
	o := stage(t, member{kind: "clocks"}).forkAs(t, request{Hold: hold})
	for _, w := range o.Worlds {
		before, after := notes(w)
		was, is := clocksApart(t, before[len(before)-1]), clocksApart(t, after[len(after)-1])
		t.Logf("%s: ahead of the monotonic clock were %v, are %v; reported are %v, less %v", w.Name, was, is, w.WallAhead, w.ClockAhead)
		if w.WallAhead < hold || w.ClockAhead < 0 || w.ClockAhead > hold/2 {
			t.Errorf("%s: reported are jumps by %v and %v", w.Name, w.WallAhead, w.ClockAhead)
		}
		for i, want := range []time.Duration{w.WallAhead - w.ClockAhead, 0, 0} {
			if got := is[i] - was[i]; got > want+tolerance || got < want-tolerance {
				t.Errorf("%s: clock %d went ahead by %v, want %v", w.Name, i, got, want)
			}
		}
	}
}

// clocksApart reads a note: the wall clock, the boot clock, the raw clock.
func clocksApart(t *testing.T, note string) (out []time.Duration) {
	t.Helper()
	for field := range strings.FieldsSeq(note) {
		ns, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, time.Duration(ns))
	}
	return out
}

// TestPrivRandom wants generators whose state is in memory to go on alike in
// both worlds and in production, and the kernel's to differ.
func TestPrivRandom(t *testing.T) {
	s := stage(t, member{kind: "random"})
	o := s.fork(t)
	origin := strings.Split(readFile(t, s.logs[0]), "\n")
	logs := [][]string{origin, strings.Split(o.Worlds[0].Logs[0], "\n"), strings.Split(o.Worlds[1].Logs[0], "\n")}
	seen := map[string]bool{}
	for round := o.Worlds[0].AtCut[0] + 1; round < o.Worlds[0].AtCut[0]+rounds/2; round++ {
		first := strings.Fields(origin[round])
		for _, log := range logs {
			fields := strings.Fields(log[round])
			if fields[2] != first[2] || fields[3] != first[3] {
				t.Errorf("round %d: generators go on with %v and with %v", round, fields, first)
			}
			for _, unforeseen := range fields[4:] {
				if seen[unforeseen] {
					t.Errorf("round %d: %s comes twice", round, unforeseen)
				}
				seen[unforeseen] = true
			}
		}
	}
}

// TestPrivProcFile holds a file about a thread that the world makes later.
func TestPrivProcFile(t *testing.T) {
	o := one(t, "proc")
	wantNotes(t, o, `"exe\n"`, `""`)
	for _, w := range o.Worlds {
		if !strings.Contains(w.Gaps[len(w.Gaps)-1].Detail, "is empty") {
			t.Errorf("%s: gaps %v", w.Name, w.Gaps)
		}
	}
}

// TestPrivStuckHelper gives up a call of the helper. Its stack is in the arena,
// which must not be unmapped before it has ended.
func TestPrivStuckHelper(t *testing.T) {
	s := stage(t, member{kind: "private"})
	o := s.agent(t, request{Stuck: true})
	for _, p := range o.Problems {
		t.Error(p)
	}
	s.wantOrigins(t)
	time.Sleep(300 * time.Millisecond) // the call, had it gone on, has ended
	s.wantOrigins(t)
	vmas, err := procfs.Maps(s.members[0].PID)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vmas {
		if v.Start == uint64(tracee.ArenaHint) {
			t.Errorf("the arena is still there: %+v", v)
		}
	}
}
