package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// fares gives the phantom of etcd1 vitals in one world, and that world the
// addresses it listens on.
func fares(world func(*model.Observation) *model.World, change func(*model.Vitals)) edit {
	return func(o *model.Observation) {
		v := &model.Vitals{
			State: "S (sleeping)", Window: 5 * time.Second, CPU: 100 * time.Millisecond, Slices: 2000, Threads: 12,
			Resident: 100 << 20, Connections: 6, Listening: []string{"127.0.0.1:2379", "127.0.0.1:2380"},
		}
		change(v)
		w := world(o)
		w.Processes[0].Vitals = v
		w.Listening = append(w.Listening, v.Listening...)
	}
}

func as(*model.Vitals) {}

func TestFared(t *testing.T) {
	still := func(v *model.Vitals) { v.Slices, v.CPU = 3, 0 }
	stopped := func(v *model.Vitals) { v.State = "T (stopped)"; v.Slices, v.CPU = 0, 0 }
	spins := func(v *model.Vitals) { v.CPU = 5 * time.Second }
	starves := func(v *model.Vitals) { v.CPU, v.Slices, v.Waited = time.Millisecond, 20, 15*time.Second }
	swells := func(v *model.Vitals) { v.Resident, v.Threads = 2<<30, 900 }
	deaf := func(v *model.Vitals) { v.Listening = v.Listening[:1] }
	for _, c := range []struct {
		name           string
		trial, control func(*model.Vitals)
		want           model.Status
		message        string
	}{
		{"alike", as, as, model.Pass, ""},
		{"stuck", still, as, model.Fail, "etcd1 does nothing any more"},
		{"still there, too", still, still, model.Pass, ""},
		{"still in the control only", as, still, model.Pass, ""},
		{"stopped", stopped, as, model.Fail, "is stopped by a signal"},
		{"stopped there, too", stopped, stopped, model.Pass, ""},
		{"spins", spins, as, model.Pass, "is still busy after the action: it takes 100 % of a processor"},
		{"gets no processor", starves, as, model.Pass, ""},
		{"still for a moment", func(v *model.Vitals) { still(v); v.Window = time.Second / 2 }, as, model.Pass, ""},
		{"spins there, too", spins, spins, model.Pass, ""},
		{"swells", swells, as, model.Pass, "has 2048 MiB of memory and 900 threads after the action"},
		{"swells there, too", swells, swells, model.Pass, ""},
		{"deaf", deaf, as, model.Fail, "does not listen on 127.0.0.1:2380 any more"},
		{"deaf there, too", deaf, deaf, model.Pass, ""},
		{"listens on more", as, deaf, model.Pass, ""},
	} {
		v := Judge(healthy(fares(trialWorld, c.trial), fares(controlWorld, c.control)))
		got := ""
		for _, f := range v.Findings {
			got += f.Message
			if f.Member != "etcd1" || f.PID != 11 || f.Control == "" {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if v.Status != c.want || !strings.Contains(got, c.message) || (got == "") != (c.message == "") {
			t.Errorf("%s: %s, %q", c.name, v.Status, got)
		}
	}
}

// TestUnserved: what a replacement listens on is served, and of a member that is
// lost more need not be said.
func TestUnserved(t *testing.T) {
	lost := trial(ends(0, signal("SIGTERM", time.Second)))
	again := trialProcess(model.Process{PID: 901, Parent: 900, Member: "etcd1", Cause: model.CauseAction, Started: 2 * time.Second, Args: []string{"etcd", "--name", "etcd1"}})
	serves := trial(func(w *model.World) { w.Listening = []string{"127.0.0.1:2379", "127.0.0.1:2380"} })
	for name, c := range map[string]struct {
		edits []edit
		want  int
	}{
		"lost":                 {[]edit{lost}, 0},
		"replaced":             {[]edit{lost, again, serves}, 0},
		"replaced by the deaf": {[]edit{lost, again}, 1},
	} {
		o := healthy(append(c.edits, fares(controlWorld, as))...)
		if got := unserved(o); len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestRepeated(t *testing.T) {
	often := func(n int) model.LogGroup {
		g := message("etcd1", model.LogWarning, "connection refused, # left")
		g.Count = n
		return g
	}
	for name, c := range map[string]struct {
		edits []edit
		want  string
	}{
		"often":               {[]edit{logs(trialWorld, often(57))}, "etcd1 repeats a warning, 57 times so far: connection refused, # left"},
		"more often":          {[]edit{logs(trialWorld, often(57)), logs(controlWorld, often(5))}, "etcd1 repeats a warning, 57 times so far: connection refused, # left"},
		"seldom":              {[]edit{logs(trialWorld, often(19))}, ""},
		"in the control, too": {[]edit{logs(trialWorld, often(57)), logs(controlWorld, often(30))}, ""},
	} {
		v := Judge(healthy(c.edits...))
		got := ""
		for _, f := range v.Findings {
			got += f.Message
		}
		if got != c.want || v.Status != model.Pass {
			t.Errorf("%s: %s, %q", name, v.Status, got)
		}
	}
}
