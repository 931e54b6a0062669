package verdict

import (
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
)

// asked judges what the user said of lines in logs.
func asked(o model.Observation) (found []model.Finding) {
	for _, rule := range o.Spec.LogRules {
		t, c := logMatch(o.Trial, rule.Pattern), logMatch(o.Control, rule.Pattern)
		switch {
		case rule.Require && t == nil:
			f := model.Finding{
				Rule: "log-missing", Severity: rule.Severity,
				Message: fmt.Sprintf("nobody logged a line that matches %q", rule.Pattern), Control: "nobody there either",
			}
			if c != nil {
				f.Control = "logged there: " + clip(c.First)
			}
			found = append(found, f)
		case !rule.Require && t != nil && c == nil:
			who := t.Member
			if who == "" {
				who = "the action"
			}
			found = append(found, model.Finding{
				Rule: "log-forbidden", Severity: rule.Severity, Member: t.Member,
				Message: fmt.Sprintf("%s logged what matches %q, %d times in all", who, rule.Pattern, t.Count), Control: "not there",
				Evidence: []model.Evidence{{Source: "log", Text: clip(t.First), At: t.At}},
			})
		}
	}
	return found
}

// logMatch returns what a world has of a pattern, or nil.
func logMatch(w model.World, pattern string) *model.LogMatch {
	i := slices.IndexFunc(w.LogMatches, func(m model.LogMatch) bool { return m.Pattern == pattern })
	if i < 0 {
		return nil
	}
	return &w.LogMatches[i]
}
