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
		{"a check fails by itself", []edit{checks(ok, bad, ok, bad)}, false, false},
		{"a check fails, and a member is lost", []edit{checks(ok, bad, ok, ok), trial(ends(1, exit(1, 1)))}, false, true},
		{"the action failed", []edit{checks(ok, bad, ok, ok), acts(&model.CommandResult{Exit: exit(1, 1)})}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Pending(healthy(c.edits...)); got != c.want {
				t.Errorf("pending: %t, want %t", got, c.want)
			}
			if got := Hopeless(healthy(c.edits...)); got != c.lost {
				t.Errorf("hopeless: %t, want %t", got, c.lost)
			}
		})
	}
}
