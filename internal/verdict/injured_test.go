package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// TestInjured lets a member end by pilot's doing, by its own, and not at all.
func TestInjured(t *testing.T) {
	kill := model.Injury{Kind: model.InjuryKill, Member: "m1", When: "action"}
	made := model.Injured{Injury: kill, At: time.Second, PIDs: []int{7}}
	for name, c := range map[string]struct {
		signal  string
		injured model.Injured
		want    model.Status
		reason  string
	}{
		"by pilot":       {"SIGKILL", made, model.Pass, "with kill:m1@action: "},
		"by itself":      {"SIGABRT", made, model.Fail, "with kill:m1@action: "},
		"another":        {"SIGKILL", model.Injured{Injury: kill, At: time.Second, PIDs: []int{8}}, model.Fail, "with kill:m1@action: "},
		"not made":       {"", model.Injured{Injury: kill, Err: "its moment did not come"}, model.Unknown, "the second failure kill:m1@action did not happen: its moment did not come"},
		"lost, not made": {"SIGKILL", model.Injured{Injury: kill, Err: "its moment did not come"}, model.Fail, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := model.Spec{Members: []model.Member{{Name: "m1", PID: 7}}, AlsoFail: []model.Injury{kill}}
			still := model.Process{PID: 7, Member: "m1", Phantom: true}
			p := still
			if c.signal != "" {
				p.Exit = &model.Exit{Signal: c.signal, At: time.Second}
			}
			v := Judge(model.Observation{
				Spec:    spec,
				Trial:   model.World{Name: "trial", Action: &model.CommandResult{Exit: &model.Exit{}}, Processes: []model.Process{p}, Injured: []model.Injured{c.injured}},
				Control: model.World{Name: "control", Processes: []model.Process{still}},
			})
			if v.Status != c.want || !strings.HasPrefix(v.Reason, c.reason) {
				t.Errorf("%s: %s; want %s: %s\n%+v", v.Status, v.Reason, c.want, c.reason, v.Findings)
			}
		})
	}
}
