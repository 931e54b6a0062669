package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// mendable are the rules about what time may mend: a member may need long to come
// back, and to have again what the others have.
var mendable = map[string]bool{
	"check-failed": true, "not-mended": true, "data-lost": true, "differs": true, "service-gone": true, "stuck": true,
}

// Pending reports whether something is wrong with a trial that goes on, and only
// that which time may mend. Its logs, files and events are not known yet.
func Pending(o model.Observation) bool {
	wrong, hopeless := soFar(o)
	return wrong && !hopeless
}

// Hopeless reports whether something is wrong with it that no time mends.
func Hopeless(o model.Observation) bool {
	_, hopeless := soFar(o)
	return hopeless
}

func soFar(o model.Observation) (wrong, hopeless bool) {
	o.Spec.LogRules = nil
	found, _ := judge(o)
	for _, f := range found {
		if f.Severity == model.Error {
			wrong = true
			hopeless = hopeless || !mendable[f.Rule]
		}
	}
	return wrong, hopeless
}

// late tells that the worlds had to be watched for longer than the user wanted.
func late(o model.Observation) []model.Finding {
	r := o.Trial.Recovery
	if r == nil || !r.Healthy || r.After <= o.Spec.Settle {
		return nil
	}
	return []model.Finding{{
		Rule: "late", Severity: model.Info, Control: "nothing was wrong there",
		Message: fmt.Sprintf("something was wrong after %s, and nothing after %s", round(o.Spec.Settle), round(r.After)),
	}}
}
