package verdict

import (
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
)

// injured judges the second failures: one that was not made proves nothing.
func injured(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, i := range o.Trial.Injured {
		f := model.Finding{Rule: "also-failed", Severity: model.Info, Member: i.Member,
			Message: fmt.Sprintf("as was asked for, pilot made %s at %s", i.Injury, round(i.At)), Control: "nothing was done to it"}
		if i.Until > 0 {
			f.Message += fmt.Sprintf(", until %s", round(i.Until))
		}
		if i.Err != "" {
			f.Rule, f.Severity = "not-injured", model.Unproven
			f.Message = fmt.Sprintf("the second failure %s did not happen: %s", i.Injury, i.Err)
		}
		found = append(found, f)
	}
	return found
}

// byPilot reports whether pilot itself killed, or stopped, a process of the trial.
func byPilot(o model.Observation, pid int, kind string) bool {
	return slices.ContainsFunc(o.Trial.Injured, func(i model.Injured) bool {
		return i.Kind == kind && i.Err == "" && slices.Contains(i.PIDs, pid)
	})
}

// despite names the second failures that were made, for the reason of a verdict.
func despite(o model.Observation) string {
	text := ""
	for _, i := range o.Trial.Injured {
		if i.Err != "" {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += i.Injury.String()
	}
	return text
}
