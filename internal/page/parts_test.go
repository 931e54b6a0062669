package page

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestNext(t *testing.T) {
	checked := model.Spec{Action: []string{"sh", "-c", "a b"}, Probes: []model.Probe{{Name: "p"}}, Timeout: time.Minute}
	unproven := func(rules ...string) (out []model.Finding) {
		for _, r := range rules {
			out = append(out, model.Finding{Rule: r, Severity: model.Unproven})
		}
		return out
	}
	for _, c := range []struct {
		name string
		r    model.Report
		want []string // a part of each step, in order
	}{
		{"pass", model.Report{Spec: checked, Verdict: model.Verdict{Status: model.Pass}}, []string{"run it for real"}},
		{"pass with effects", model.Report{Spec: checked, Verdict: model.Verdict{Status: model.Pass, Effects: make([]model.Effect, 2), NotCovered: make([]model.Gap, 1)}}, []string{"2 effects", "1 gap.", "run it for real"}},
		{"pass unchecked", model.Report{Verdict: model.Verdict{Status: model.Pass}}, []string{"--check", "run it for real"}},
		{"fail", model.Report{Verdict: model.Verdict{Status: model.Fail}}, []string{"Do not run", "first finding", "pilot it again"}},
		{"blocked", model.Report{Spec: checked, Verdict: model.Verdict{Status: model.Unknown, Findings: unproven("blocked", "blocked", "deadline")}}, []string{"not take this for a pass", "--egress", "--timeout was 1m0s"}},
		{"of no known rule", model.Report{Verdict: model.Verdict{Status: model.Unknown, Findings: unproven("new")}}, []string{"not take this for a pass", "The findings say"}},
		{"a warning is no reason", model.Report{Verdict: model.Verdict{Findings: []model.Finding{{Rule: "blocked", Severity: model.Warning}}}}, []string{"not take this for a pass", "The findings say"}},
	} {
		got := next(&c.r)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i, s := range got {
			if !strings.Contains(s.Text, c.want[i]) {
				t.Errorf("%s: step %d is %q, want %q in it", c.name, i, s.Text, c.want[i])
			}
		}
	}
	if got := next(&model.Report{Spec: checked, Verdict: model.Verdict{Status: model.Pass}}); got[0].Command != "sh -c 'a b'" {
		t.Errorf("got %q", got[0].Command)
	}
}

// TestTimeline lays out a second of two worlds.
func TestTimeline(t *testing.T) {
	exit := func(at time.Duration, code int) *model.Exit { return &model.Exit{At: at, Code: code} }
	r := &model.Report{
		Spec: model.Spec{Members: []model.Member{{Name: "kv", PID: 5}, {Name: "down"}}},
		Trial: model.World{Name: "trial", Lifetime: time.Second, Action: &model.CommandResult{PID: 9, Exit: exit(500*time.Millisecond, 0)},
			Processes: []model.Process{
				{PID: 5, Member: "kv", Phantom: true},
				{PID: 9, Cause: model.CauseAction, Started: 200 * time.Millisecond, Exit: exit(500*time.Millisecond, 0)},
				{PID: 10, Member: "down", Cause: model.CauseAction, Started: 300 * time.Millisecond, Exit: exit(800*time.Millisecond, 1)},
				{PID: 11, Member: "kv", Cause: model.CauseCheck},
			},
			Probes:   []model.ProbeResult{{Name: "p", Before: model.CommandResult{Exit: exit(100*time.Millisecond, 0), Duration: 100 * time.Millisecond}, After: model.CommandResult{Err: "gone"}}},
			Attempts: []model.Attempt{{At: 400 * time.Millisecond, Member: "kv", Answer: "EPERM"}, {At: 600 * time.Millisecond, Member: "kv", Answer: model.AnswerStub}},
			Events:   []model.Event{{Kind: model.EventLog, Member: "kv", At: 700 * time.Millisecond, Object: "[error] it broke"}, {Kind: model.EventLog, Member: "kv", At: 900 * time.Millisecond, Object: "[info] all well"}},
		},
		Control: model.World{Name: "control", Lifetime: time.Second},
	}
	tl := newTimeline(r)
	x := scale{time.Second}.x
	if got := tl.Worlds[0].Span; got == nil || got.X != x(200*time.Millisecond) || got.X+got.Width != x(500*time.Millisecond) {
		t.Errorf("span: %+v", got)
	}
	if tl.Worlds[1].Span != nil || !tl.Logged || len(tl.Ticks) != 11 || tl.Ticks[10].Label != "1.0 s" || tl.Ticks[10].X != tl.Right {
		t.Errorf("%+v", tl.Ticks)
	}
	var got []string
	for _, w := range tl.Worlds {
		for _, l := range w.Lanes {
			text := w.Name + " " + l.Name + ":"
			for _, b := range l.Bars {
				text += " " + strings.ReplaceAll(b.Class, " ", "-")
			}
			for _, m := range l.Marks {
				text += " " + m.Sign
			}
			got = append(got, strings.TrimSpace(text+" "+l.Empty))
		}
	}
	want := []string{"trial action: act │", "trial checks: check ✓", "trial kv: phantom ! ◆", "trial down: new-bad ▸ ✕", "control kv: not seen", "control down: down"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if worlds := newTimeline(&model.Report{}).Worlds; len(worlds) != 2 {
		t.Errorf("of nothing: %+v", worlds)
	}
}

func TestTicks(t *testing.T) {
	for end, want := range map[time.Duration]string{
		time.Millisecond: "0.0001 s", 30 * time.Millisecond: "0.005 s", 9 * time.Second: "1 s", 61 * time.Second: "10 s", time.Hour: "500 s",
	} {
		got := scale{end}.ticks()
		if len(got) < 5 || len(got) > 11 || got[1].Label != want {
			t.Errorf("%v: %+v", end, got)
		}
	}
}

func TestCrowdedMarks(t *testing.T) {
	marks := []mark{}
	for i := range 500 {
		marks = append(marks, mark{X: 200 + float64(i)/10, Class: "exit", sortsAt: time.Duration(i)})
	}
	marks = append(marks, mark{X: 249, Class: "tried", sortsAt: 490})
	got := thinned(marks)
	if len(got) < 10 || len(got) > 20 || !slices.ContainsFunc(got, func(m mark) bool { return m.Class == "tried" }) {
		t.Errorf("%d marks", len(got))
	}
	few := []mark{{X: 1}, {X: 5}, {X: 60}, {X: 100}, {X: 101}, {X: 102}}
	spread(few)
	if few[0].Y == few[1].Y || few[2].Y != 0 || few[3].Y == few[4].Y || few[4].Y == few[5].Y || few[3].Y == few[5].Y {
		t.Errorf("%+v", few)
	}
}

// TestEventTree shows each event once, below its process, whatever the parents.
func TestEventTree(t *testing.T) {
	event := func(pid int) model.Event { return model.Event{PID: pid, Kind: model.EventSync, Member: "m"} }
	w := model.World{
		Processes: []model.Process{{PID: 1, Args: []string{"init"}}, {PID: 2, Parent: 1}, {PID: 3, Parent: 2}, {PID: 4, Parent: 1}, {PID: 6, Parent: 7}, {PID: 7, Parent: 6}, {PID: 8, Parent: 8}},
		Events:    []model.Event{event(3), event(1), event(3), event(6), event(7), event(8), event(99)},
	}
	var text func(list []branch) string
	text = func(list []branch) (out string) {
		for _, b := range list {
			out += strings.Repeat("x", len(b.Events)) + string(rune('a'+b.PID%26)) + "(" + text(b.Children) + ")"
		}
		return out
	}
	tree := newEventWorld(w)
	if got := text(tree.Roots); got != "xb(c(xxd()))xg(xh())xi()xv()" || tree.Roots[0].Total != 3 || tree.Roots[0].Name != "init" || tree.Roots[3].Name != "m" {
		t.Errorf("got %s, %+v", got, tree.Roots)
	}
	w.Events = slices.Repeat(w.Events[:1], mostEvents+3)
	if tree := newEventWorld(w); tree.Shown != mostEvents || tree.More != 3 {
		t.Errorf("%d and %d more", tree.Shown, tree.More)
	}
}

func TestEventText(t *testing.T) {
	e := model.Event{Object: "/a", To: "/b", Child: 7, Conn: "tcp 1 2", Bytes: 2048, Took: time.Second, Count: 3, Error: "EIO"}
	if got := eventText(e); got != "/a  → /b  pid 7  tcp 1 2  2.0 KiB  took 1s  3 times  EIO" {
		t.Errorf("got %q", got)
	}
}

func TestPauseBars(t *testing.T) {
	b := newPauseBars(model.Pause{Total: 10, Stop: 1, Capture: 2, Fork: 3, Files: 3, Release: 1, Predicted: 14}, 100)
	if last := b.Parts[4]; last.X != 900 || last.Width != 100 || b.Parts[2].X != 300 || b.Real != 7 || b.RealWidth != 500 || b.PredictedWidth != 1000 {
		t.Errorf("%+v", b)
	}
	if b := newPauseBars(model.Pause{}, 0); b.Parts[0].Width != 0 || b.RealWidth != 0 {
		t.Errorf("%+v", b)
	}
}

func TestLongListsOfEffects(t *testing.T) {
	groups := effects(big(1000).Verdict.Effects)
	if len(groups) != 1 || len(groups[0].Rows) != mostEffects || groups[0].More != 1000-mostEffects || groups[0].Tallies[0].N != 1000 || groups[0].Open {
		t.Errorf("%d groups, %d rows, %d more", len(groups), len(groups[0].Rows), groups[0].More)
	}
}

// TestMaskedOutputIsNotJudged must not call a check failed because its output,
// which is compared with a pattern, is masked.
func TestMaskedOutputIsNotJudged(t *testing.T) {
	spec := model.Spec{Probes: []model.Probe{{Name: "p", Expect: "^token=abc$"}}}
	for output, want := range map[string]string{"token=abc": "made", "token=***": "plain", "else": "failed"} {
		if got := result(spec, "p", "after", model.CommandResult{Exit: &model.Exit{}, Output: output}); got.Class != want {
			t.Errorf("%s: %+v", output, got)
		}
	}
}

func TestWants(t *testing.T) {
	s := model.Spec{Probes: []model.Probe{{Name: "p", Expect: "^ok$", Preserve: true, SameAsControl: true}, {Name: "q"}}}
	if got := strings.Join(wants(s, "p"), "|"); got != "Its output must match ^ok$|Each line that it prints before the action must be printed after it.|Both worlds must print the same after the action." {
		t.Errorf("got %s", got)
	}
	if got := wants(s, "q"); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(1234567), "1 234 567"}, {number(-1234), "-1 234"}, {number(12), "12"},
		{count(1, "process"), "1 process"}, {count(2, "process"), "2 processes"}, {count(10000, "path"), "10 000 paths"},
		{command([]string{"sh", "-c", "it's", ""}), `sh -c 'it'\''s' ''`},
		{size(1023), "1023 B"}, {size(5 << 40), "5.0 TiB"}, {size(7 << 50), "7168.0 TiB"},
		{percent(1, 3), "33.3 %"}, {percent(1, 0), ""},
		{how(nil), "not run"}, {how(&model.CommandResult{}), "did not end"}, {how(&model.CommandResult{Exit: &model.Exit{Signal: "SIGKILL"}}), "SIGKILL after 0s"},
		{short("a-very-long-member-name"), "a-very-long-memb…"},
		{tail(strings.Repeat("x", mostQuoted) + "\nlast").Text, "last"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
