package series

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A change to the report of an action that passes.
type change func(*model.Report)

func passed(changes ...change) *model.Report {
	r := &model.Report{Verdict: model.Verdict{Status: model.Pass, Reason: "fine"}}
	r.Trial.Action = &model.CommandResult{Exit: &model.Exit{}, Duration: time.Second}
	for _, c := range changes {
		c(r)
	}
	return r
}

func verdictIs(s model.Status, findings ...model.Finding) change {
	return func(r *model.Report) { r.Verdict.Status, r.Verdict.Reason, r.Verdict.Findings = s, "because", findings }
}

func slow(r *model.Report) { r.Trial.Action.Duration = time.Minute }

func changed(sign, path string) change {
	return func(r *model.Report) {
		r.Verdict.Effects = append(r.Verdict.Effects, model.Effect{Sign: sign, Kind: "file", Object: path})
	}
}

func keys(after int64) change {
	return func(r *model.Report) {
		r.Trial.Stores = []model.Store{{System: "etcd", Figures: []model.Figure{{Name: "keys", Kind: model.FigureCount, Before: 40, After: after}}}}
	}
}

func logged(text string) change {
	return func(r *model.Report) {
		r.Trial.Logs = append(r.Trial.Logs, model.LogGroup{Level: model.LogError, Template: text})
		r.Verdict.Findings = append(r.Verdict.Findings, model.Finding{Rule: "log-error", Severity: model.Warning, Message: text})
	}
}

func recovered(healthy bool, after time.Duration) change {
	return func(r *model.Report) { r.Trial.Recovery = &model.Recovery{Healthy: healthy, After: after} }
}

// TestCompare has what counts of a difference, and what does not.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name     string
		a, b     *model.Report
		differs  string // the property that counts; none
		unproven bool
	}{
		{"the same", passed(), passed(), "", false},
		{"one is slower", passed(), passed(slow), "", false},
		{"one logs an error", passed(), passed(logged("x")), "", false},
		{"the exit status", passed(), passed(func(r *model.Report) { r.Trial.Action.Exit.Code = 3 }), "action", false},
		{"the verdict", passed(), passed(verdictIs(model.Fail)), "verdict", false},
		{"one is not proven", passed(), passed(verdictIs(model.Unknown)), "", true},
		{"both are not proven", passed(verdictIs(model.Unknown)), passed(verdictIs(model.Unknown)), "", true},
		{"fail and not proven", passed(verdictIs(model.Fail)), passed(verdictIs(model.Unknown)), "", true},
		{"healthy later", passed(recovered(true, 1)), passed(recovered(true, time.Second)), "", false},
		{"not healthy", passed(recovered(true, 1)), passed(recovered(false, time.Second)), "healthy", false},
		{"other files", passed(changed("+", "/a")), passed(changed("+", "/b")), "data changed", false},
		{"a write-ahead log grew", passed(), passed(changed("~", "/d/member/wal/0000000000000000-0000000000000000.wal")), "", false},
		{"a log grew", passed(), passed(changed("~", "/d/server.log")), "", false},
		{"more keys", passed(keys(40)), passed(keys(41)), "", false},
		{"fewer keys", passed(keys(40)), passed(keys(12)), "records: keys of etcd", false},
		{"a finding", passed(), passed(verdictIs(model.Pass, model.Finding{Rule: "busy", Severity: model.Warning, Message: "x is busy"})), "findings", false},
		{"a finding of both", passed(verdictIs(model.Fail, model.Finding{Rule: "action-failed", Severity: model.Error, Message: "it took 3s"})),
			passed(verdictIs(model.Fail, model.Finding{Rule: "action-failed", Severity: model.Error, Message: "it took 14s"})), "", false},
		{"a note", passed(), passed(verdictIs(model.Pass, model.Finding{Rule: "check-healed", Severity: model.Info})), "", false},
		{"a process ended", passed(), passed(func(r *model.Report) {
			r.Spec.Members = []model.Member{{Name: "kv", PID: 7}}
			r.Trial.Processes = []model.Process{{PID: 7, Member: "kv", Phantom: true, Exit: &model.Exit{Signal: "SIGKILL"}}}
		}), "processes ended", false},
		{"a process was left", passed(), passed(func(r *model.Report) {
			r.Verdict.Effects = []model.Effect{{Sign: "+", Kind: "process", Object: "sleep 9"}}
		}), "processes left running", false},
		{"one was ended", passed(verdictIs(model.Unknown), func(r *model.Report) {
			r.Trial.Ended, r.Trial.Action.Exit, r.Control.Listening = "it wrote too much", nil, []string{":1"}
		}), passed(changed("+", "/b"), func(r *model.Report) { r.Trial.Listening = []string{":1"}; r.Control.Listening = []string{":1"} }), "action", true},
		{"a port is closed", passed(), passed(func(r *model.Report) { r.Control.Listening = []string{":1"} }), "listening", false},
	} {
		got := Compare([]*model.Report{c.a, c.b}, []string{"a", "b"}, false)
		var counts []string
		for _, r := range got.Rows {
			if r.Counts {
				counts = append(counts, r.Property)
			}
			if len(r.Values) != 2 {
				t.Errorf("%s: row %+v", c.name, r)
			}
		}
		if got.Differs != (c.differs != "") || got.Unproven != c.unproven {
			t.Errorf("%s: differs %t in %q, unproven %t", c.name, got.Differs, counts, got.Unproven)
		}
		if c.differs != "" && c.differs != "findings" && !reflect.DeepEqual(counts, []string{c.differs}) {
			t.Errorf("%s: %q counts", c.name, counts)
		}
		if !strings.Contains(got.Reason, c.differs) {
			t.Errorf("%s: reason %q", c.name, got.Reason)
		}
	}
}

func TestRepeat(t *testing.T) {
	lost := model.Finding{Rule: "member-lost", Severity: model.Error, Message: "e1 died 13ms after (pid 14)"}
	again := lost
	again.Message = "e1 died 7ms after (pid 1488)"
	pass, fail, fail2, open := passed(), passed(verdictIs(model.Fail, lost)), passed(verdictIs(model.Fail, again)), passed(verdictIs(model.Unknown))
	for _, c := range []struct {
		name    string
		reports []*model.Report
		wanted  int
		status  model.Status
		reason  string
	}{
		{"all pass", []*model.Report{pass, pass}, 2, model.Pass, "2 of 2 passed"},
		{"one fails", []*model.Report{pass, fail, open}, 3, model.Fail, "1 of 3 passed; round 2: because"},
		{"one is open", []*model.Report{pass, open}, 2, model.Unknown, "1 of 2 passed; round 2: because"},
		{"one was not done", []*model.Report{pass}, 2, model.Unknown, "1 of 2 passed; 1 round not done"},
	} {
		got := Repeat(c.reports, c.wanted)
		if got.Status != c.status || got.Reason != c.reason {
			t.Errorf("%s: %s, %q", c.name, got.Status, got.Reason)
		}
	}
	got := Repeat([]*model.Report{fail, pass, fail2}, 3)
	if len(got.Findings) != 1 || !reflect.DeepEqual(got.Findings[0].Runs, []int{1, 3}) {
		t.Errorf("one finding of two rounds: %+v", got.Findings)
	}
	want := []Varied{{Property: "verdict", Values: []Value{{"fail", []int{1, 3}}, {"pass", []int{2}}}}}
	if !reflect.DeepEqual(got.Varied, want) {
		t.Errorf("varied: %+v", got.Varied)
	}
}

func TestWithoutNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"pid 412 ended at 3.07s": "pid # ended at #.#s",
		"etcd1 and kv-2 died":    "etcd1 and kv-2 died",
		"7":                      "#",
		"":                       "",
	} {
		if got := withoutNumbers(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
