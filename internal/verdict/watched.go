package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// watched judges whether both worlds lived long enough.
func watched(o model.Observation) []model.Finding {
	var found []model.Finding
	if len(o.Control.Processes) == 0 && len(o.Spec.Members) > 0 {
		found = append(found, model.Finding{Rule: "no-control", Severity: model.Unproven,
			Message: "the control world shows no process, so there is nothing to compare with"})
	}
	for _, m := range o.Spec.Members {
		if !m.Down() && phantom(o.Trial, m.PID) == nil {
			found = append(found, model.Finding{Rule: "member-missing", Severity: model.Unproven, Member: m.Name, PID: m.PID,
				Message: fmt.Sprintf("%s was not seen in the trial", m.Name)})
		}
	}
	unfinished := o.Trial.Action != nil && o.Trial.Action.Exit == nil // said by action already
	for _, w := range []model.World{o.Trial, o.Control} {
		if !w.DeadlineHit || w.Name == "trial" && unfinished {
			continue
		}
		found = append(found, model.Finding{Rule: "deadline", Severity: model.Unproven,
			Message: fmt.Sprintf("the deadline ended the %s world before it was quiet", w.Name)})
	}
	return found
}

// incomplete repeats what could not be observed.
func incomplete(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, w := range []model.World{o.Trial, o.Control} {
		for _, what := range w.Incomplete {
			found = append(found, model.Finding{Rule: "not-observed", Severity: model.Unproven,
				Message: fmt.Sprintf("not observed in the %s: %s", w.Name, what)})
		}
	}
	return found
}
