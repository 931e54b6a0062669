package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/series"
)

func TestRepeatTellsOfAllRounds(t *testing.T) {
	e := cluster()
	e.statuses = []model.Status{model.Pass, model.Fail, model.Pass}
	b := newBench(t, e)
	out := b.want(2, words("run --match etcd --repeat 3 --controls 2 -- true"), "in 3 rounds, one after the other", "production was released after 12.0 ms")
	if !strings.HasPrefix(out, "FAIL  2 of 3 passed; round 2: because\n") {
		t.Errorf("stdout: %s", out)
	}
	if e.series == nil || e.series.Rounds != 3 || e.series.Jitter != jitter || e.series.Actions != nil || e.spec.Controls != 2 {
		t.Errorf("series %+v, spec %+v", e.series, e.spec)
	}
	// Each round is a run, and they are listed in their order, newest first.
	var list struct {
		Runs []struct {
			ID, Status string
			Part       *model.Part
		}
	}
	if err := json.Unmarshal([]byte(b.want(0, words("ps --json"))), &list); err != nil || len(list.Runs) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, r := range list.Runs {
		if r.Part == nil || r.Part.Number != 3-i || r.Part.Series != list.Runs[2].ID || r.Part.Of != 3 {
			t.Errorf("run %d: %+v", i, r)
		}
		b.want(0, []string{"report", r.ID})
	}
	if out := b.want(0, words("ps")); !strings.Contains(out, "[2/3 of "+list.Runs[2].ID+"] ") {
		t.Errorf("ps: %s", out)
	}
}

func TestRepeatAsJSON(t *testing.T) {
	b := newBench(t, cluster())
	var got series.Rounds
	if err := json.Unmarshal([]byte(b.want(0, words("run --match etcd --json --repeat 2 -- true"))), &got); err != nil {
		t.Fatal(err)
	}
	if got.Passed != 2 || got.Wanted != 2 || got.Status != model.Pass || len(got.Rounds) != 2 || got.Rounds[0].Jitter != jitter {
		t.Errorf("%+v", got)
	}
}

// TestRepeatOfOneIsARun requires that nothing changes for who asks for one.
func TestRepeatOfOneIsARun(t *testing.T) {
	e := cluster()
	b := newBench(t, e)
	if out := b.want(0, words("run --match etcd --repeat 1 --controls 1 -- true")); !strings.HasPrefix(out, "PASS  because\n") || e.series != nil || e.spec.Controls != 0 {
		t.Errorf("series %+v, spec %+v: %s", e.series, e.spec, out)
	}
}

func TestRepeatCancelledTellsWhatItKnows(t *testing.T) {
	e := cluster()
	e.broken = 2
	b := newBench(t, e)
	out := b.want(ExitCancelled, words("run --match etcd --repeat 5 -- true"), "pilot: cancelled")
	if !strings.HasPrefix(out, "UNKNOWN  2 of 5 passed; 3 rounds not done") {
		t.Errorf("stdout: %s", out)
	}
	if out := b.want(0, words("ps")); strings.Count(out, " pass ") != 2 {
		t.Errorf("ps: %s", out)
	}
}

func TestSeriesThatFailsIsAFailedRun(t *testing.T) {
	e := cluster()
	e.runErr = &model.RefusedError{Refusals: []model.Refusal{{Object: "fd 7", Kind: "io_uring", Why: "no"}}}
	b := newBench(t, e)
	b.want(ExitRefused, words("compare --match etcd true false"), "refused, nothing was stopped")
	if out := b.want(0, words("ps")); !strings.Contains(out, "failed") {
		t.Errorf("ps: %s", out)
	}
}

func TestCompareExitsByTheDifference(t *testing.T) {
	for _, c := range []struct {
		statuses []model.Status
		want     int
		head     string
	}{
		{[]model.Status{model.Pass, model.Pass}, 0, "SAME"},
		{[]model.Status{model.Fail, model.Fail}, 0, "SAME"},
		{[]model.Status{model.Pass, model.Fail}, 2, "DIFFERS"},
		{[]model.Status{model.Pass, model.Unknown}, 3, "UNKNOWN"},
	} {
		e := cluster()
		e.statuses = c.statuses
		b := newBench(t, e)
		out := b.want(c.want, []string{"compare", "--match", "etcd", "kill 1; true", "echo 'a b'", "--control"}, "will try in the fork: ", "and beside it: echo 'a b'")
		if !strings.HasPrefix(out, c.head+"  ") || !strings.Contains(out, "control") {
			t.Errorf("%v: %s", c.statuses, out)
		}
		if s := e.series; s == nil || len(s.Actions) != 2 || !s.Recovery || s.Actions[0][1] != "-c" || s.Actions[0][2] != "kill 1; true" || s.Actions[1][2] != "echo 'a b'" {
			t.Errorf("series %+v", s)
		}
	}
}

func TestCompareAsJSON(t *testing.T) {
	b := newBench(t, cluster())
	var got series.Comparison
	if err := json.Unmarshal([]byte(b.want(0, words("compare --match etcd -o json true true"))), &got); err != nil {
		t.Fatal(err)
	}
	if got.Differs || len(got.Columns) != 2 || got.Columns[1].Name != "B" || got.Columns[1].Run == "" || got.Columns[0].Run == got.Columns[1].Run {
		t.Errorf("%+v", got)
	}
}

func TestSeriesUsage(t *testing.T) {
	b := newBench(t, cluster())
	for _, c := range []struct{ line, says string }{
		{"compare --match etcd true", "takes at least two actions, got 1"},
		{"compare --match etcd", "takes at least two actions, got 0"},
		{"compare --match etcd 1 2 3 4 5 6 7 8 9", "takes at most 8 actions, got 9"},
		{"run --match etcd --repeat 0 -- true", `--repeat: "0" is not a number from 1 to 100`},
		{"run --match etcd --repeat x -- true", `--repeat: "x" is not a number`},
		{"run --match etcd --controls 5 -- true", `--controls: "5" is not a number from 1 to 4`},
		{"run --match etcd --repeat 2 --html x.html -- true", "--html does not go with --repeat"},
	} {
		b.want(ExitUsage, words(c.line), c.says)
	}
	b.want(ExitUsage, []string{"compare", "--match", "etcd", "true", " "}, "an action is empty")
}
