package verdict

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// told marks lines of a check whose number may become smaller.
const told = "~"

// judgeNumbers wants no number to be smaller after the action than before. By how
// much it fell in the control, where nothing was done, it may fall in the trial.
func judgeNumbers(t, c model.ProbeResult) []model.Finding {
	if why := incomparable(t); why != "" {
		return []model.Finding{{Rule: "data-unknown", Severity: model.Unproven,
			Message: fmt.Sprintf("check %q cannot tell whether something was lost: %s", t.Name, why)}}
	}
	before, after := numbers(t.Before.Output), numbers(t.After.Output)
	controlBefore, controlAfter := map[string]int64{}, map[string]int64{}
	if incomparable(c) == "" {
		controlBefore, controlAfter = numbers(c.Before.Output), numbers(c.After.Output)
	}
	f := model.Finding{Rule: "data-lost", Severity: model.Error}
	for _, name := range names(before) {
		fell := max(0, controlBefore[name]-controlAfter[name])
		if strings.HasPrefix(name, told) || before[name]-after[name] <= fell {
			continue
		}
		if f.Message == "" {
			f.Message = fmt.Sprintf("check %q: %s fell from %d to %d", t.Name, name, before[name], after[name])
			f.Control = fmt.Sprintf("%d, then %d", controlBefore[name], controlAfter[name])
		}
		f.Evidence = append(f.Evidence, model.Evidence{Source: "check output", Text: clip(fmt.Sprintf("%s %d, then %d", name, before[name], after[name]))})
	}
	if f.Message == "" {
		return nil
	}
	f.Evidence = f.Evidence[:min(len(f.Evidence), maxQuotes)]
	return []model.Finding{f}
}

// numbers are those that end the lines of an output, by what stands before them.
func numbers(output string) map[string]int64 {
	out := map[string]int64{}
	for _, line := range split(output) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		if n, err := strconv.ParseInt(line[at+1:], 10, 64); err == nil {
			out[line[:at]] = n
		}
	}
	return out
}

func names(numbers map[string]int64) (out []string) {
	for name := range numbers {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// maxNumberRows bounds the rows of one check.
const maxNumberRows = 20

// numberRows are the numbers of a check that are not the same all the time.
func numberRows(t model.ProbeResult, c *model.ProbeResult) (rows []model.Difference) {
	if c == nil {
		return nil
	}
	all := [4]map[string]int64{numbers(t.Before.Output), numbers(t.After.Output), numbers(c.Before.Output), numbers(c.After.Output)}
	for _, name := range names(all[0]) {
		a, b, x, y := all[0][name], all[1][name], all[2][name], all[3][name]
		if a == b && x == y && a == x || len(rows) == maxNumberRows {
			continue
		}
		rows = append(rows, model.Difference{What: strings.TrimPrefix(name, told),
			Trial: fmt.Sprintf("%d, then %d", a, b), Control: fmt.Sprintf("%d, then %d", x, y)})
	}
	return rows
}
