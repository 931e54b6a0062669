package report

import (
	"bytes"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/series"
)

// trio are the reports of three actions side by side: one that does nothing, one
// that kills a member, and one that is not proven.
func trio() []*model.Report {
	done := func(code int, took time.Duration) *model.CommandResult {
		return &model.CommandResult{Exit: &model.Exit{Code: code, At: took}, Duration: took}
	}
	control := model.World{
		Name: "control", Processes: []model.Process{{PID: 811, Member: "etcd1", Phantom: true}}, Listening: []string{"127.0.0.1:2379"},
		Stores: []model.Store{{System: "etcd", Figures: []model.Figure{{Name: "keys", Kind: model.FigureCount, Before: 40, After: 40}}}},
	}
	spec := model.Spec{Members: []model.Member{{Name: "etcd1", PID: 811}}, Probes: []model.Probe{{Name: "health"}}}
	report := func(id string, action *model.CommandResult, change func(*model.Report)) *model.Report {
		r := &model.Report{ID: id, Spec: spec, Trial: control, Control: control, Verdict: model.Verdict{Status: model.Pass, Reason: "all is well"}}
		r.Trial.Name, r.Trial.Action = "trial", action
		r.Trial.Processes = append([]model.Process{}, control.Processes...)
		r.Trial.Probes = []model.ProbeResult{{Name: "health", After: *done(0, time.Second)}}
		r.Trial.Recovery = &model.Recovery{Healthy: true, After: 120 * time.Millisecond}
		r.Part = &model.Part{Series: "aaaaaa", Number: 1, Of: 3, Jitter: 30 * time.Millisecond}
		change(r)
		return r
	}
	return []*model.Report{
		report("aaaaaa", done(0, 10*time.Millisecond), func(*model.Report) {}),
		report("bbbbbb", done(0, 12*time.Millisecond), func(r *model.Report) {
			r.Trial.Processes[0].Exit = &model.Exit{Signal: "SIGKILL"}
			r.Trial.Listening = nil
			r.Trial.Probes[0].After = *done(1, time.Second)
			r.Trial.Recovery = &model.Recovery{After: 5 * time.Second}
			r.Trial.Logs = []model.LogGroup{{Member: "etcd1", Level: model.LogError, Template: "lost #"}}
			r.Trial.Files = []model.FileChange{{Sign: "+", Path: "/d/new", New: 100}, {Sign: "-", Path: "/d/old", Old: 40}}
			r.Trial.Stores = []model.Store{{System: "etcd", Figures: []model.Figure{{Name: "keys", Kind: model.FigureCount, Before: 40, After: 12}}}}
			r.Verdict = model.Verdict{Status: model.Fail, Reason: "etcd1 was ended by SIGKILL",
				Effects: []model.Effect{{Sign: "+", Kind: "file", Object: "/d/new"}, {Sign: "-", Kind: "file", Object: "/d/old"}},
				Findings: []model.Finding{{Rule: "member-lost", Severity: model.Error, Member: "etcd1", PID: 811, Message: "etcd1 was ended by SIGKILL",
					Evidence: []model.Evidence{{Source: "exit", Text: "pid 811 was ended by SIGKILL"}}, Control: "still ran"}},
				Noise: []model.Finding{{Rule: "log-error", Severity: model.Warning, Message: "etcd1 logged: slow", Control: "but it does not hold against control 2"}}}
		}),
		report("cccccc", &model.CommandResult{}, func(r *model.Report) {
			r.Trial.Recovery = nil
			r.Verdict = model.Verdict{Status: model.Unknown, Reason: "the action did not end within 2m0s"}
		}),
	}
}

func TestComparisonGolden(t *testing.T) {
	for name, c := range map[string]series.Comparison{
		"compare.txt":      series.Compare(trio(), []string{"true", "kill -9 811", "sleep 1000"}, true),
		"compare-same.txt": series.Compare([]*model.Report{trio()[0], trio()[0]}, []string{"true", "true"}, false),
		"compare-open.txt": series.Compare([]*model.Report{trio()[2], trio()[2]}, []string{"sleep 1000", "sleep 1000"}, false),
	} {
		var b bytes.Buffer
		if err := Comparison(&b, c, false); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

func TestRoundsGolden(t *testing.T) {
	for name, s := range map[string]series.Rounds{
		"rounds.txt":      series.Repeat(trio(), 4),
		"rounds-pass.txt": series.Repeat([]*model.Report{trio()[0], trio()[0]}, 2),
	} {
		var b bytes.Buffer
		if err := Rounds(&b, s, false); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}
