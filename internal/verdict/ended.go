package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// endedEarly judges worlds that pilot did not let live on.
func endedEarly(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, w := range []model.World{o.Trial, o.Control} {
		if w.Ended != "" {
			found = append(found, model.Finding{Rule: "world-ended", Severity: model.Unproven,
				Message: fmt.Sprintf("the %s world was ended: %s", w.Name, w.Ended)})
		}
	}
	if len(found) == 2 && o.Trial.Ended == o.Control.Ended {
		found = found[:1]
		found[0].Message = "the worlds were " + o.Trial.Ended
	}
	return found
}

// unprove takes errors for unproven when a world was ended: what died, or
// failed, may have done so for want of what production would have had. So it does
// when the action was not waited for, which may have had the remedy still to come.
func unprove(o model.Observation, found []model.Finding) {
	if o.Trial.Ended == "" && o.Control.Ended == "" && o.Trial.Steered.Stopped != model.SteeredAction {
		return
	}
	for i := range found {
		if found[i].Severity == model.Error {
			found[i].Severity = model.Unproven
		}
	}
}
