package verdict

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func prints(lines ...string) model.CommandResult {
	r := result(0)
	r.Output = strings.Join(lines, "\n") + "\n"
	return r
}

func cut(r model.CommandResult) model.CommandResult {
	r.Cut = true
	return r
}

func wants(change func(*model.Probe)) edit {
	return func(o *model.Observation) {
		o.Spec.Probes = []model.Probe{{Name: "health"}}
		change(&o.Spec.Probes[0])
	}
}

func TestOutputs(t *testing.T) {
	preserve := wants(func(p *model.Probe) { p.Preserve = true })
	same := wants(func(p *model.Probe) { p.SameAsControl = true })
	expect := wants(func(p *model.Probe) { p.Expect = "^3$" })
	all, less := prints("a", "b", "c", "c"), prints("c", "a", "c")
	for _, c := range []struct {
		name   string
		edits  []edit
		status model.Status
		rule   string // of the first finding, or nothing
		text   string // in its message or evidence
	}{
		{"all is kept", []edit{preserve, checks(all, prints("c", "c", "b", "a", "d"), all, all)}, model.Pass, "", ""},
		{"a line is lost", []edit{preserve, checks(all, less, all, all)}, model.Fail, "data-lost", "no longer prints a line of 4"},
		{"one of two equal lines is lost", []edit{preserve, checks(all, prints("a", "b", "c"), all, all)}, model.Fail, "data-lost", "c"},
		{"all is lost, and the check passes", []edit{preserve, checks(all, prints(), all, all)}, model.Fail, "data-lost", "4 lines of 4"},
		{"the control loses it, too", []edit{preserve, checks(all, less, all, less)}, model.Pass, "", ""},
		{"the control loses less", []edit{preserve, checks(all, prints("a"), all, less)}, model.Fail, "data-lost", "2 lines of 4"},
		{"the control cannot tell", []edit{preserve, checks(all, less, all, bad)}, model.Fail, "data-lost", "a line of 4"},
		{"it failed before", []edit{preserve, checks(bad, all, bad, all)}, model.Unknown, "data-unknown", "before the action it fails"},
		{"it fails after", []edit{preserve, checks(all, bad, all, all)}, model.Fail, "check-failed", ""},
		{"too much", []edit{preserve, checks(cut(all), less, all, all)}, model.Unknown, "data-unknown", "prints too much"},

		{"the same", []edit{same, checks(all, less, less, less)}, model.Pass, "", ""},
		{"another order", []edit{same, checks(all, prints("b", "c", "a", "c"), all, all)}, model.Pass, "", ""},
		{"other lines", []edit{same, checks(all, prints("a", "x", "c", "c"), all, all)}, model.Fail, "differs", "- b"},

		{"as expected", []edit{expect, checks(prints("3"), prints("3"), prints("3"), prints("3"))}, model.Pass, "", ""},
		{"other than expected", []edit{expect, checks(prints("3"), prints("2"), prints("3"), prints("3"))}, model.Fail, "check-failed", `does not match "^3$"`},
		{"mended", []edit{expect, checks(prints("2"), prints("3"), prints("2"), prints("2"))}, model.Pass, "check-repaired", ""},
		{"not mended", []edit{expect, checks(prints("2"), prints("2"), prints("2"), prints("2"))}, model.Fail, "not-mended", ""},
	} {
		v := Judge(healthy(c.edits...))
		rule, text := "", ""
		if len(v.Findings) > 0 {
			rule, text = v.Findings[0].Rule, fmt.Sprint(v.Findings[0])
		}
		if v.Status != c.status || rule != c.rule || !strings.Contains(text, c.text) {
			t.Errorf("%s: %s %+v, want %s, %s with %q", c.name, v.Status, v.Findings, c.status, c.rule, c.text)
		}
	}
}

func TestPreservedRow(t *testing.T) {
	o := healthy(wants(func(p *model.Probe) { p.Preserve = true }), checks(prints("a", "b"), prints("a"), prints("a", "b"), prints("a", "b")))
	for _, row := range Judge(o).Differences {
		if row.What == `lines of "health"` && row.Trial == "2, then 1" && row.Control == "2" {
			return
		}
	}
	t.Errorf("no row of what is preserved: %+v", Judge(o).Differences)
}
