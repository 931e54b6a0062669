package page

import (
	"strings"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

func checks(r *model.Report) (out []checkPair) {
	for _, p := range r.Trial.Probes {
		pair := checkPair{Name: p.Name, Command: p.Command, Wants: wants(r.Spec, p.Name)}
		for _, w := range []model.World{r.Trial, r.Control} {
			pair.Worlds = append(pair.Worlds, checkWorld{w.Name, results(r.Spec, w, p.Name)})
		}
		out = append(out, pair)
	}
	return out
}

// wants says what the output of a check must be, beside its exit status.
func wants(s model.Spec, name string) (out []string) {
	for _, p := range s.Probes {
		if p.Name != name {
			continue
		}
		if p.Expect != "" {
			out = append(out, "Its output must match "+p.Expect)
		}
		if p.Preserve {
			out = append(out, "Each line that it prints before the action must be printed after it.")
		}
		if p.SameAsControl {
			out = append(out, "Both worlds must print the same after the action.")
		}
	}
	return out
}

func results(s model.Spec, w model.World, name string) []checkResult {
	for _, p := range w.Probes {
		if p.Name == name {
			return []checkResult{result(s, name, "before", p.Before), result(s, name, "after", p.After)}
		}
	}
	return nil
}

func result(s model.Spec, name, when string, r model.CommandResult) checkResult {
	text, good := verdict.Outcome(s, name, r)
	c := checkResult{When: when, Outcome: text, Class: "made", Took: span(r.Duration), Output: r.Output}
	switch {
	case good:
	case r.OK() && strings.Contains(r.Output, mask.Mark):
		c.Outcome, c.Class = "exit status 0", "plain" // what its output is compared with is masked
	default:
		c.Class = "failed"
	}
	if r.Err != "" {
		c.Outcome += ": " + r.Err
	}
	return c
}
