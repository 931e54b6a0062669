package verdict

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// second adds another control, changed by edits, which see it as the trial.
func second(edits ...edit) edit {
	return func(o *model.Observation) {
		other := healthy(edits...)
		other.Trial.Action, other.Trial.Name = nil, "control 2"
		o.More = append(o.More, other.Trial)
	}
}

func logsError(text string) edit {
	return func(o *model.Observation) {
		o.Trial.Logs = append(o.Trial.Logs, model.LogGroup{Member: "etcd1", Level: model.LogError, Template: text, Count: 1, First: []string{text}})
	}
}

func endsPhantom(e *model.Exit) edit {
	return func(o *model.Observation) { o.Trial.Processes[0].Exit = e }
}

func checkFails(o *model.Observation) { o.Trial.Probes[0].After = result(1) }

func deaf(o *model.Observation) {
	o.Trial.Processes[1].Vitals = &model.Vitals{}
	o.Trial.Listening = nil
}

func listens(o *model.Observation) {
	for _, w := range []*model.World{&o.Trial, &o.Control} {
		w.Processes[1].Vitals = &model.Vitals{Listening: []string{"127.0.0.1:2379"}}
		w.Listening = []string{"127.0.0.1:2379"}
	}
}

func loses(o *model.Observation) {
	o.Trial.Stores = []model.Store{{System: "etcd", Member: "etcd1", Path: "/d1", Figures: []model.Figure{{Name: "revision", Kind: model.FigurePosition, Before: 100, After: 40}}}}
}

func TestNoise(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       model.Observation
		status  model.Status
		finding string // a rule that counts, or none at all
		noise   string // a rule that is noise, or none at all
	}{
		{"quiet", healthy(second()), model.Pass, "", ""},
		{"an error that one control logs too", healthy(logsError("apply took too long"), second(logsError("apply took too long"))), model.Pass, "", "log-error"},
		{"an error that no control logs", healthy(logsError("boom"), second()), model.Pass, "log-error", ""},
		{"a member lost against both", healthy(endsPhantom(exit(1, 4*time.Second)), second()), model.Fail, "member-lost", ""},
		{"a member that one control lost too", healthy(endsPhantom(exit(1, 4*time.Second)), second(endsPhantom(exit(1, 2*time.Second)))), model.Unknown, "member-lost", ""},
		{"a member that a control lost", healthy(second(endsPhantom(exit(1, 2*time.Second)))), model.Unknown, "control-lost", ""},
		{"a check that fails against both", healthy(checkFails, second()), model.Fail, "check-failed", ""},
		{"a check that came to fail in one control too", healthy(checkFails, second(checkFails)), model.Unknown, "check-noise", ""},
		{"a check that came to fail in one control alone", healthy(second(checkFails)), model.Unknown, "check-noise", ""},
		{"nothing listens, but in one control neither", healthy(listens, deaf, second(deaf)), model.Pass, "", "service-gone"},
		{"nothing listens, but in both controls", healthy(listens, deaf, second(listens)), model.Fail, "service-gone", ""},
		{"a record lost that one control lost too", healthy(loses, second(loses)), model.Fail, "records-lost", ""},
		{"a failed action", healthy(func(o *model.Observation) { o.Trial.Action.Exit.Code = 1 }, second()), model.Fail, "action-failed", ""},
		{"a control that was not watched", healthy(second(func(o *model.Observation) { o.Trial.Incomplete = []string{"files"} })), model.Unknown, "not-observed", ""},
	} {
		v := Judge(c.o)
		if v.Status != c.status {
			t.Errorf("%s: %s, want %s: %+v", c.name, v.Status, c.status, v.Findings)
		}
		has := func(list []model.Finding, rule string) bool {
			return rule == "" && len(list) == 0 || slices.ContainsFunc(list, func(f model.Finding) bool { return f.Rule == rule })
		}
		if !has(v.Findings, c.finding) {
			t.Errorf("%s: findings %+v, want %q", c.name, v.Findings, c.finding)
		}
		if !has(v.Noise, c.noise) {
			t.Errorf("%s: noise %+v, want %q", c.name, v.Noise, c.noise)
		}
	}
}

// TestNoiseSaysWhy requires that who reads of noise learns what it is.
func TestNoiseSaysWhy(t *testing.T) {
	v := Judge(healthy(logsError("slow"), second(logsError("slow"))))
	if len(v.Noise) != 1 || !strings.Contains(v.Noise[0].Control, "does not hold against control 2") {
		t.Errorf("noise: %+v", v.Noise)
	}
}

// TestComparingRulesExist fails when a rule that compares gets another name.
func TestComparingRulesExist(t *testing.T) {
	given := map[string]bool{}
	for _, o := range []model.Observation{
		healthy(endsPhantom(exit(1, time.Second))), healthy(checkFails), healthy(listens, deaf), healthy(logsError("x")),
	} {
		for _, f := range Judge(o).Findings {
			given[f.Rule] = true
		}
	}
	for rule := range given {
		if comparing[rule] == nil {
			t.Errorf("rule %s compares with the control, and is not known to", rule)
		}
	}
}

func TestEffectsOfOneControlAreNone(t *testing.T) {
	wal := func(o *model.Observation) {
		o.Trial.Files = []model.FileChange{{Sign: "~", Path: "/d1/wal", Old: 1, New: 2}}
	}
	if v := Judge(healthy(wal, second())); len(v.Effects) != 1 {
		t.Errorf("effects: %+v", v.Effects)
	}
	if v := Judge(healthy(wal, second(wal))); len(v.Effects) != 0 {
		t.Errorf("a control has it too: %+v", v.Effects)
	}
}
