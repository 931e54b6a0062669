package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// base is an observation that passes, of one member.
func steeredBase() model.Observation {
	member := model.Process{PID: 40, Member: "a", Phantom: true}
	return model.Observation{
		Spec:    model.Spec{Members: []model.Member{{Name: "a", PID: 40}}, Settle: 5 * time.Second, Timeout: time.Minute},
		Trial:   model.World{Name: "trial", Action: &model.CommandResult{Exit: &model.Exit{At: time.Second}}, Processes: []model.Process{member}},
		Control: model.World{Name: "control", Processes: []model.Process{member}},
	}
}

func TestSteered(t *testing.T) {
	killed := []model.Process{{PID: 40, Member: "a", Phantom: true, Exit: &model.Exit{Signal: "SIGKILL", At: time.Second}}}
	cut := func(o *model.Observation) { o.Trial.Action = &model.CommandResult{} }
	for _, c := range []struct {
		name   string
		s      model.Steered
		change func(*model.Observation)
		status model.Status
		texts  []string // of findings
	}{
		{"not", model.Steered{}, nil, model.Pass, nil},
		{"watching", model.Steered{Stopped: "settle", After: 2 * time.Second}, nil, model.Pass, []string{"ended the watching early, after 2s of 5s"}},
		{"watching a loss", model.Steered{Stopped: "settle"}, func(o *model.Observation) { o.Trial.Processes = killed }, model.Fail, []string{"SIGKILL"}},
		{"action", model.Steered{Stopped: "action", After: time.Second}, cut, model.Unknown, []string{"stopped the run 1s after the action began", "the action was not waited for"}},
		{"action with a loss", model.Steered{Stopped: "action"}, func(o *model.Observation) { cut(o); o.Trial.Processes = killed }, model.Unknown, nil},
		{"action at its end", model.Steered{Stopped: "action"}, nil, model.Unknown, nil},
		{"before", model.Steered{Stopped: "copy"}, func(o *model.Observation) {
			o.Trial.Action, o.Trial.Ended, o.Control.Ended = nil, "ended by the user", "ended by the user"
		}, model.Unknown, []string{"the worlds were ended by the user"}},
		{"extended", model.Steered{Timeout: time.Minute, Settle: time.Hour}, nil, model.Pass,
			[]string{"extended the time of the action by 1m0s", "extended the watching by 1h0m0s"}},
		{"extended in vain", model.Steered{Timeout: time.Minute}, cut, model.Unknown, []string{"the action did not end within 2m0s"}},
	} {
		o := steeredBase()
		o.Trial.Steered = c.s
		if c.change != nil {
			c.change(&o)
		}
		v := Judge(o)
		if v.Status != c.status {
			t.Errorf("%s: %s: %s", c.name, v.Status, v.Reason)
		}
		var all []string
		for _, f := range v.Findings {
			all = append(all, f.Message)
		}
		for _, text := range c.texts {
			if !strings.Contains(strings.Join(all, "\n"), text) {
				t.Errorf("%s: no finding %q in %q", c.name, text, all)
			}
		}
	}
}

func TestShell(t *testing.T) {
	for _, c := range []struct {
		name   string
		exit   *model.Exit
		status model.Status
		reason string
	}{
		{"0", &model.Exit{}, model.Pass, "the shell ended and no member was lost"},
		{"of the last command", &model.Exit{Code: 127}, model.Pass, "the shell ended and no member was lost"},
		{"killed", &model.Exit{Signal: "SIGKILL"}, model.Unknown, "the shell was ended by SIGKILL"},
		{"open", nil, model.Unknown, "the shell did not end within 1m0s"},
	} {
		o := steeredBase()
		o.Spec.Shell = true
		o.Trial.Action.Exit = c.exit
		if v := Judge(o); v.Status != c.status || !strings.HasPrefix(v.Reason, c.reason) {
			t.Errorf("%s: %s: %s", c.name, v.Status, v.Reason)
		}
	}
}
