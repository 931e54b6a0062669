package verdict

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestNumbers(t *testing.T) {
	says := func(text string) model.CommandResult { return model.CommandResult{Exit: exit(0, 1), Output: text} }
	for _, c := range []struct {
		name                                 string
		before, after, controlThen, controlZ model.CommandResult
		severity                             model.Severity
		message                              string
	}{
		{"more", says("keys 3\nrevision 9\n"), says("keys 4\nrevision 9\n"), says("keys 3\n"), says("keys 3\n"), "", ""},
		{"fewer", says("keys 3\n"), says("keys 2\n"), says("keys 3\n"), says("keys 3\n"), model.Error, "keys fell from 3 to 2"},
		{"gone", says("keys 3\n"), says("\n"), says("keys 3\n"), says("keys 3\n"), model.Error, "keys fell from 3 to 0"},
		{"as in the control", says("keys 30\n"), says("keys 20\n"), says("keys 30\n"), says("keys 20\n"), "", ""},
		{"more than in the control", says("keys 30\n"), says("keys 20\n"), says("keys 30\n"), says("keys 29\n"), model.Error, "keys fell from 30 to 20"},
		{"only told", says("~members 3\n"), says("~members 2\n"), says("~members 3\n"), says("~members 3\n"), "", ""},
		{"no answer", says("keys 3\n"), bad, says("keys 3\n"), says("keys 3\n"), model.Unproven, "cannot tell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := healthy(checks(c.before, c.after, c.controlThen, c.controlZ))
			o.Spec.Probes = []model.Probe{{Name: "health", NotLess: true}}
			var found []model.Finding
			for _, f := range Judge(o).Findings {
				if strings.HasPrefix(f.Rule, "data-") {
					found = append(found, f)
				}
			}
			if c.severity == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || found[0].Severity != c.severity || !strings.Contains(found[0].Message, c.message) {
				t.Errorf("got %+v", found)
			}
		})
	}
	o := healthy(checks(says("a b 1\n~m 3\nsame 1\n"), says("a b 2\n~m 2\nsame 1\n"), says("a b 1\n~m 3\nsame 1\n"), says("a b 1\n~m 3\nsame 1\n")))
	o.Spec.Probes = []model.Probe{{Name: "health", NotLess: true}}
	got := Judge(o).Differences[1:3]
	if got[0] != (model.Difference{What: "a b", Trial: "1, then 2", Control: "1, then 1"}) || got[1].What != "m" {
		t.Errorf("got %+v", got)
	}
}
