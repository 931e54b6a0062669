package verdict

import (
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestPending(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []edit
		want  bool
		lost  bool // no time mends it
	}{
		{"all is well", nil, false, false},
		{"a check fails", []edit{checks(ok, bad, ok, ok)}, true, false},
		{"a check fails in both", []edit{checks(bad, bad, bad, bad)}, true, false},
		{"a check fails, and a required line was not looked for yet", []edit{checks(ok, bad, ok, ok), rule(model.LogRule{Pattern: "x", Require: true, Severity: model.Error})}, true, false},
		{"a check fails by itself", []edit{checks(ok, bad, ok, bad)}, true, false},
		{"a check fails in the control alone", []edit{checks(ok, ok, ok, bad)}, true, false},
		{"a check hangs on a busy host", []edit{rationed, checks(ok, hung, ok, ok)}, true, false},
		{"a check fails, and a member is lost", []edit{checks(ok, bad, ok, ok), trial(ends(1, exit(1, 1)))}, false, true},
		{"the action failed", []edit{checks(ok, bad, ok, ok), acts(&model.CommandResult{Exit: exit(1, 1)})}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Foresee(healthy(c.edits...))
			if got := p.Pending(); got != c.want {
				t.Errorf("pending: %t, want %t", got, c.want)
			}
			if p.Hopeless != c.lost {
				t.Errorf("hopeless: %t, want %t", p.Hopeless, c.lost)
			}
		})
	}
}

func TestUnsettled(t *testing.T) {
	probes := []model.Probe{{Name: "a"}, {Name: "b", Expect: "^up$"}}
	up, down := ok, ok
	up.Output, down.Output = "up\n", "down\n"
	for _, c := range []struct {
		name   string
		worlds [][]model.CommandResult
		want   bool
	}{
		{"all pass", [][]model.CommandResult{{ok, up}, {ok, up}}, false},
		{"all fail", [][]model.CommandResult{{bad, down}, {bad, down}}, false},
		{"one world fails", [][]model.CommandResult{{ok, up}, {bad, up}}, true},
		{"one world says something else", [][]model.CommandResult{{ok, up}, {ok, down}}, true},
		{"no end in any", [][]model.CommandResult{{hung, up}, {hung, up}}, true},
		{"one is not asked", [][]model.CommandResult{{{Skipped: true}, up}, {{Skipped: true}, up}}, false},
	} {
		if got := Unsettled(probes, c.worlds); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
