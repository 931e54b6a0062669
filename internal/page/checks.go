package page

import (
	"fmt"
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

// whens say when a check is asked, where that is not before and after the action.
var whens = map[string]string{
	model.WhenBefore: "It is asked before the action only: it says what that takes for granted.",
	model.WhenAfter:  "It is asked after the action only.",
	model.WhenAlways: "It is asked in between, too, and must pass all the time.",
}

// wants says what the output of a check must be, beside its exit status.
func wants(s model.Spec, name string) (out []string) {
	for _, p := range s.Probes {
		if p.Name != name {
			continue
		}
		if when, ok := whens[p.When]; ok {
			out = append(out, when)
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
		if p.Name != name {
			continue
		}
		var list []checkResult
		if !p.Before.Skipped {
			list = append(list, result(s, name, "before", p.Before))
		}
		if p.Between != nil {
			list = append(list, between(s, name, *p.Between))
		}
		if !p.After.Skipped {
			list = append(list, result(s, name, "after", p.After))
		}
		return list
	}
	return nil
}

// between is how a check fared that was asked all the time, with the first that failed.
func between(s model.Spec, name string, b model.Between) checkResult {
	if b.Failed == 0 {
		return checkResult{When: "in between", Outcome: "passes " + count(b.Asked, "time"), Class: "made"}
	}
	c := result(s, name, "in between", b.First)
	c.Outcome = fmt.Sprintf("failed %d of %s, from %s to %s; the first: %s", b.Failed, count(b.Asked, "time"), at(b.At), at(b.Until), c.Outcome)
	c.Class = "failed"
	return c
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
