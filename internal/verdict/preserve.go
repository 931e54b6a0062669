package verdict

import (
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// judgeOutput judges what a check prints: all members may run and every check may
// pass, and the data be gone.
func judgeOutput(want model.Probe, t, c model.ProbeResult) (found []model.Finding) {
	if want.Preserve {
		found = append(found, judgePreserved(t, c)...)
	}
	if want.NotLess {
		found = append(found, judgeNumbers(t, c)...)
	}
	if want.SameAsControl && t.After.Err == "" && c.After.Err == "" {
		found = append(found, judgeSame(t, c)...)
	}
	return found
}

// judgePreserved wants the lines of before to be there after. Lines that the
// control has lost as well were not lost by the action.
func judgePreserved(t, c model.ProbeResult) []model.Finding {
	f := model.Finding{Rule: "data-lost"}
	if why := incomparable(t); why != "" {
		f.Rule, f.Severity = "data-unknown", model.Unproven
		f.Message = fmt.Sprintf("check %q cannot tell whether something was lost: %s", t.Name, why)
		return []model.Finding{f}
	}
	lost := missing(t.Before.Output, t.After.Output)
	control := 0
	if incomparable(c) == "" {
		gone := missing(c.Before.Output, c.After.Output)
		control = len(gone)
		lost = subtract(lost, gone)
	}
	if len(lost) == 0 {
		return nil
	}
	f.Severity = model.Error
	f.Message = fmt.Sprintf("check %q no longer prints %s of %d that it printed before the action", t.Name, numberOf(len(lost)), len(split(t.Before.Output)))
	f.Control = fmt.Sprintf("lost %d", control)
	for _, line := range lost[:min(len(lost), maxQuotes)] {
		f.Evidence = append(f.Evidence, model.Evidence{Source: "lost", Text: clip(line)})
	}
	return []model.Finding{f}
}

func numberOf(n int) string {
	if n == 1 {
		return "a line"
	}
	return fmt.Sprintf("%d lines", n)
}

// incomparable says why the outputs of a probe prove nothing, or nothing.
func incomparable(p model.ProbeResult) string {
	switch {
	case !p.Before.OK():
		return "before the action it " + outcome(model.Probe{}, p.Before)
	case !p.After.OK():
		return "after the action it " + outcome(model.Probe{}, p.After)
	case p.Before.Cut || p.After.Cut:
		return "it prints too much"
	}
	return ""
}

// judgeSame wants both worlds to print the same after the action.
func judgeSame(t, c model.ProbeResult) []model.Finding {
	less := missing(c.After.Output, t.After.Output)
	more := missing(t.After.Output, c.After.Output)
	if len(less)+len(more) == 0 {
		return nil
	}
	f := model.Finding{
		Rule: "differs", Severity: model.Error,
		Message: fmt.Sprintf("check %q prints other lines than in the control: %d are missing, %d are new", t.Name, len(less), len(more)),
	}
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", less}, {"+", more}} {
		for _, line := range side.lines[:min(len(side.lines), maxQuotes)] {
			f.Evidence = append(f.Evidence, model.Evidence{Source: "check output", Text: side.sign + " " + clip(line)})
		}
	}
	return []model.Finding{f}
}

// preserved is the row of a check that lists what must not be lost.
func preserved(t model.ProbeResult, c *model.ProbeResult) model.Difference {
	row := model.Difference{What: fmt.Sprintf("lines of %q", t.Name), Trial: counts(t), Control: "not run"}
	if c != nil {
		row.Control = counts(*c)
	}
	return row
}

func counts(p model.ProbeResult) string {
	before, after := len(split(p.Before.Output)), len(split(p.After.Output))
	if before == after {
		return fmt.Sprint(after)
	}
	return fmt.Sprintf("%d, then %d", before, after)
}

// missing returns the lines of before that after has not, or not as often.
func missing(before, after string) []string { return subtract(split(before), split(after)) }

// subtract removes from lines those of others, each as often as it is there.
func subtract(lines, others []string) (rest []string) {
	have := map[string]int{}
	for _, l := range others {
		have[l]++
	}
	for _, l := range lines {
		if have[l] > 0 {
			have[l]--
			continue
		}
		rest = append(rest, l)
	}
	return rest
}

// split returns the lines of an output that are not blank.
func split(output string) (out []string) {
	for line := range strings.Lines(output) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}
