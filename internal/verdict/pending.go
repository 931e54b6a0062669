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

// unsure are the rules about checks that tell nothing of the action, which is no answer
// either: worlds that had hardly any processor may be well a little later.
var unsure = map[string]bool{ruleNoise: true, ruleStarved: true}

// Prospect is what a trial looks like while it goes on. Its logs, files and events are
// not known yet.
type Prospect struct {
	Wrong    bool // something is wrong with it
	Unsure   bool // a check tells nothing of the action
	Hopeless bool // no time mends what is wrong
}

// Pending reports whether more time may make the trial a better one.
func (p Prospect) Pending() bool { return (p.Wrong || p.Unsure) && !p.Hopeless }

// Foresee looks at a trial that goes on.
func Foresee(o model.Observation) (p Prospect) {
	o.Spec.LogRules = nil
	found, _ := judge(o)
	for _, f := range found {
		if f.Severity == model.Error {
			p.Wrong = true
			p.Hopeless = p.Hopeless || !mendable[f.Rule]
		}
		p.Unsure = p.Unsure || unsure[f.Rule]
	}
	return p
}

// Unsettled reports whether a check should be asked once more before the action: it did
// not end, or passes in one world and fails in another, which are still alike. before has
// what the probes gave in each world.
func Unsettled(probes []model.Probe, before [][]model.CommandResult) bool {
	for i, p := range probes {
		for _, world := range before {
			if world[i].CutOff() || good(p, world[i]) != good(p, before[0][i]) {
				return true
			}
		}
	}
	return false
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
