package page

import (
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A step is one thing to do next.
type step struct {
	Text    string
	Link    string // a place on the page, or empty
	Command string // what to type, or empty
}

// next says what a reader does with the verdict.
func next(r *model.Report) []step {
	switch r.Verdict.Status {
	case model.Pass:
		return afterPass(r)
	case model.Fail:
		return []step{
			{Text: "Do not run this action on production as it is."},
			{Text: "Begin with the first finding: its evidence says what broke, the control whether it would have broken anyway.", Link: "#finding-1"},
			{Text: "Change the action and pilot it again, with the same flags."},
		}
	}
	return afterUnknown(r)
}

func afterPass(r *model.Report) (steps []step) {
	if len(r.Spec.Probes) == 0 {
		steps = append(steps, step{Text: "No check was given: only the exit status and the members were looked at. Pilot it again with --check, or --preserve for what must not be lost."})
	}
	if n := len(r.Verdict.Effects); n > 0 {
		steps = append(steps, step{Text: "Read what it changes: " + count(n, "effect") + ".", Link: "#effects"})
	}
	if n := len(r.Verdict.NotCovered); n > 0 {
		steps = append(steps, step{Text: "Read what the fork did not have: " + count(n, "gap") + ".", Link: "#gaps"})
	}
	return append(steps, step{
		Text:    "Then run it for real. What was proven is of the moment of the snapshot: if the cluster has changed since, pilot it again first.",
		Command: command(r.Spec.Action),
	})
}

// remedies are what to do about findings that leave a verdict open, by their rules.
func remedies(r *model.Report) map[string]string {
	return map[string]string{
		"deadline":          "Give it more time: --timeout was " + span(r.Spec.Timeout) + ".",
		"action-unfinished": "Give the action more time: --timeout was " + span(r.Spec.Timeout) + ".",
		"blocked":           "Say how a peer outside is to be answered, --egress PEER=stub or PEER=allow-read, or take the action's need of it away.",
		"peer-refused":      "Take the peer that no run may touch out of the action.",
		"world-ended":       "Raise the limit that ended the world, or use a host with more to spare.",
		"member-lost":       "Members ended in both worlds: look at their output, the fork itself is suspect.",
		"control-lost":      "A member ended where nothing was done: pilot it again when the cluster is quiet.",
		"check-noise":       "A check failed where nothing was done: pilot it again when the cluster is quiet, or make the check steadier.",
		"check-missing":     "Correct the check, its command could not be run.",
		"check-not-started": "Correct the check, its command could not be run.",
	}
}

func afterUnknown(r *model.Report) []step {
	steps := []step{{Text: "Nothing is proven: do not take this for a pass."}}
	known, seen := remedies(r), map[string]bool{}
	for _, f := range r.Verdict.Findings {
		text := known[f.Rule]
		if f.Severity == model.Unproven && text != "" && !seen[text] {
			seen[text] = true
			steps = append(steps, step{Text: text})
		}
	}
	if len(steps) == 1 {
		steps = append(steps, step{Text: "The findings say what was not seen. Pilot it again.", Link: "#findings"})
	}
	return steps
}

// A quoted is the end of what a process wrote about which there is a finding.
type quoted struct {
	Finding int
	Message string
	PID     int
	Member  string
	Command string
	Lines   []string
}

// outputs quotes each process of the trial that findings name, once.
func outputs(r *model.Report) (out []quoted) {
	seen := map[int]bool{}
	for i, f := range r.Verdict.Findings {
		for _, p := range r.Trial.Processes {
			if f.PID == 0 || p.PID != f.PID || seen[p.PID] || len(p.Output) == 0 {
				continue
			}
			seen[p.PID] = true
			out = append(out, quoted{Finding: i + 1, Message: f.Message, PID: p.PID, Member: p.Member, Command: command(p.Args), Lines: p.Output})
		}
	}
	return out
}

// A logRow is the messages of one kind.
type logRow struct {
	model.LogGroup
	Who     string
	Control int // how many the control has of it
	Finding int // the finding about it, 0 for none
}

// logRows are the trial's messages: those with findings first, then by level.
func logRows(r *model.Report) []logRow {
	var rows [4][]logRow
	for _, g := range r.Trial.Logs {
		row := logRow{LogGroup: g, Who: g.Member}
		if row.Who == "" {
			row.Who = "the action"
		}
		for _, c := range r.Control.Logs {
			if c.Template == g.Template && c.Member == g.Member {
				row.Control += c.Count
			}
		}
		row.Finding = findingOf(r.Verdict.Findings, g)
		i := 3
		switch {
		case row.Finding > 0:
			i = 0
		case g.Level == model.LogFatal:
			i = 1
		case g.Level == model.LogError:
			i = 2
		}
		rows[i] = append(rows[i], row)
	}
	return append(append(append(rows[0], rows[1]...), rows[2]...), rows[3]...)
}

// A ruleRow is what one world has of a rule about logs.
type ruleRow struct {
	Rule  model.LogRule
	World string
	Match model.LogMatch
}

func ruleRows(r *model.Report) (rows []ruleRow) {
	for _, rule := range r.Spec.LogRules {
		for _, w := range []model.World{r.Trial, r.Control} {
			row := ruleRow{Rule: rule, World: w.Name}
			for _, m := range w.LogMatches {
				if m.Pattern == rule.Pattern {
					row.Match = m
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// findingOf finds the finding that quotes the first line of g.
func findingOf(list []model.Finding, g model.LogGroup) int {
	if len(g.First) == 0 {
		return 0
	}
	for i, f := range list {
		for _, e := range f.Evidence {
			quote := strings.TrimSuffix(e.Text, "…")
			if quote != "" && strings.Contains(e.Source, "log") && strings.HasPrefix(g.First[0], quote) {
				return i + 1
			}
		}
	}
	return 0
}
