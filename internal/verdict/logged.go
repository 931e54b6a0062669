package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

const ruleLogged = "log-error"

// mostLogged bounds the findings about logs.
const mostLogged = 10

// logged notices errors in logs that the control has not. A message alone proves
// nothing: what it tells of, other rules judge.
func logged(o model.Observation) []model.Finding {
	var found []model.Finding
	more := 0
	seen := map[string]bool{} // templates
	for _, g := range o.Trial.Logs {
		if !isError(g) || seen[g.Template] || hasMessage(o.Control.Logs, g) {
			continue
		}
		seen[g.Template] = true
		if len(found) == mostLogged {
			more++
			continue
		}
		f := model.Finding{
			Rule: ruleLogged, Severity: model.Warning, Member: g.Member,
			Message: fmt.Sprintf("%s logged what the control has not: %s", loggers(o.Trial.Logs, g), clip(g.Template)),
			Control: "no such error",
		}
		f.Evidence = quoteLog(g)
		found = append(found, f)
	}
	if more > 0 {
		found = append(found, model.Finding{
			Rule: ruleLogged, Severity: model.Warning,
			Message: fmt.Sprintf("%d more kinds of errors were logged that the control has not", more),
		})
	}
	return found
}

// quoteLog quotes the first message of g.
func quoteLog(g model.LogGroup) (quotes []model.Evidence) {
	for _, line := range g.First[:min(len(g.First), maxQuotes)] {
		quotes = append(quotes, model.Evidence{Source: "log", Text: clip(line)})
	}
	if len(quotes) > 0 {
		quotes[0].At = g.At
	}
	return quotes
}

func isError(g model.LogGroup) bool { return g.Level == model.LogError || g.Level == model.LogFatal }

// hasMessage reports whether any member has logged the same, as grave.
func hasMessage(logs []model.LogGroup, g model.LogGroup) bool {
	return slices.ContainsFunc(logs, func(c model.LogGroup) bool { return c.Template == g.Template && isError(c) })
}

// loggers says who has logged a message, and how often.
func loggers(logs []model.LogGroup, g model.LogGroup) string {
	var who []string
	n := 0
	for _, l := range logs {
		if l.Template != g.Template || !isError(l) {
			continue
		}
		n += l.Count
		name := l.Member
		if name == "" {
			name = "the action"
		}
		if !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	text := who[0]
	if len(who) > 1 {
		text = strings.Join(who[:len(who)-1], ", ") + " and " + who[len(who)-1]
	}
	if n > 1 {
		text += fmt.Sprintf(" (%d times)", n)
	}
	return text
}

// messages counts those of some levels.
func messages(logs []model.LogGroup, levels ...string) (n int) {
	for _, l := range logs {
		if slices.Contains(levels, l.Level) {
			n += l.Count
		}
	}
	return n
}
