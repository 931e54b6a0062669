package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// TestEnded: when a world was ended nothing is proven, neither good nor bad.
func TestEnded(t *testing.T) {
	exit := &model.Exit{At: time.Second}
	member := model.Process{PID: 40, Member: "a", Phantom: true}
	killed := member
	killed.Exit = &model.Exit{Signal: "SIGKILL", At: 2 * time.Second}
	base := model.Observation{
		Spec:    model.Spec{Members: []model.Member{{Name: "a", PID: 40}}},
		Trial:   model.World{Name: "trial", Action: &model.CommandResult{Exit: exit}, Processes: []model.Process{member}},
		Control: model.World{Name: "control", Processes: []model.Process{member}},
	}
	if v := Judge(base); v.Status != model.Pass {
		t.Fatalf("%s: %s", v.Status, v.Reason)
	}
	lost := base
	lost.Trial.Processes = []model.Process{killed}
	if v := Judge(lost); v.Status != model.Fail {
		t.Fatalf("%s: %s", v.Status, v.Reason)
	}
	for _, c := range []struct {
		name           string
		o              model.Observation
		trial, control string
		reason         string
	}{
		{"quiet", base, "it wrote 2 MiB", "", "the trial world was ended: it wrote 2 MiB"},
		{"control", base, "", "it filled /tmp", "the control world was ended: it filled /tmp"},
		{"an error", lost, "it took more memory", "", "the trial world was ended: it took more memory"},
		{"both", lost, "ended to protect production: x", "ended to protect production: x", "the worlds were ended to protect production: x"},
	} {
		c.o.Trial.Ended, c.o.Control.Ended = c.trial, c.control
		v := Judge(c.o)
		if v.Status != model.Unknown || !strings.HasPrefix(v.Reason, c.reason) {
			t.Errorf("%s: %s: %s", c.name, v.Status, v.Reason)
		}
		for _, f := range v.Findings {
			if f.Severity == model.Error {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
	}
}
