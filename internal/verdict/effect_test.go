package verdict

import (
	"reflect"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestEffectsAreWhatTheControlLacks(t *testing.T) {
	o := healthy(
		trialProcess(server3(nil)),
		trialProcess(tool(exit(0, 1))), // a tool that did its work leaves nothing
		trialProcess(model.Process{PID: 961, Parent: 960, Args: []string{"curl"}, Exit: exit(7, 1)}),
		trialProcess(model.Process{PID: 990, Args: []string{"cron"}}), controlProcess(model.Process{PID: 991, Args: []string{"cron"}}),
		trial(ends(1, exit(1, 1))),
		trial(func(w *model.World) {
			w.Files = []model.FileChange{
				{Sign: "+", Path: "/d/new", Member: "etcd3", New: 64 << 20},
				{Sign: "~", Path: "/d/wal", Old: 10, New: 30},
				{Sign: "~", Path: "/d/conf", Old: 2048, New: 4096},
				{Sign: "~", Path: "/d/id", Old: 8, New: 8},
				{Sign: "-", Path: "/d/lock", Old: 5},
			}
		}),
		control(func(w *model.World) {
			w.Files = []model.FileChange{{Sign: "~", Path: "/d/wal", Old: 10, New: 20}, {Sign: "~", Path: "/d/lock"}}
		}),
	)
	want := []model.Effect{
		{Sign: "-", Kind: "process", Object: "etcd --name etcd2", Member: "etcd2", Detail: "pid 12, ended with exit status 1"},
		{Sign: "+", Kind: "process", Object: "/usr/bin/etcd --name etcd3", Detail: "pid 950, runs"},
		{Sign: "x", Kind: "process", Object: "curl", Detail: "pid 961, ended with exit status 7"},
		{Sign: "+", Kind: "file", Object: "/d/new", Member: "etcd3", Detail: "64.0 MiB"},
		{Sign: "~", Kind: "file", Object: "/d/conf", Detail: "2.0 KiB to 4.0 KiB"},
		{Sign: "~", Kind: "file", Object: "/d/id", Detail: "8 B, other content"},
		{Sign: "-", Kind: "file", Object: "/d/lock", Detail: "had 5 B"},
	}
	if got := Judge(o).Effects; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDifferences(t *testing.T) {
	o := healthy(checks(bad, ok, bad, hung), trialProcess(server3(nil)), trial(ends(1, exit(1, 1))))
	want := []model.Difference{
		{What: `check "health"`, Trial: "fails (exit status 7), then passes", Control: "fails (exit status 7), then does not end"},
		{What: "processes at the end", Trial: "2", Control: "2"},
		{What: "processes started", Trial: "1", Control: "0"},
		{What: "files changed", Trial: "0", Control: "0"},
	}
	if got := Judge(o).Differences; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	o.Control.Probes = nil
	if got := Judge(o).Differences[0].Control; got != "not run" {
		t.Errorf("got %q", got)
	}
}

func TestNotCovered(t *testing.T) {
	gap := model.Gap{Member: "etcd1", Object: "fd 9", Detail: "dead"}
	o := healthy(func(o *model.Observation) { o.Gaps = []model.Gap{gap} })
	if got := Judge(o).NotCovered; !reflect.DeepEqual(got, []model.Gap{gap}) {
		t.Errorf("got %+v", got)
	}
	o.Spec.Probes = nil
	if got := Judge(o).NotCovered; len(got) != 2 || got[1].Object != "checks" {
		t.Errorf("got %+v", got)
	}
}
