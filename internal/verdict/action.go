package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// action judges the command under test by how it ended.
func action(o model.Observation) []model.Finding {
	f := model.Finding{Rule: "action-failed", Severity: model.Error}
	a := o.Trial.Action
	switch {
	case a == nil:
		f.Rule, f.Severity = "action-missing", model.Unproven
		f.Message = "the action was not run"
		return []model.Finding{f}
	case a.Err != "":
		f.Rule = "action-not-started"
		f.Message = "the action could not be started: " + a.Err
	case a.Exit == nil:
		f.Rule, f.Severity = "action-unfinished", model.Unproven
		f.Message = "the action did not end"
		if refused(o) {
			f.Message = "the action was not waited for"
		} else if o.Spec.Timeout > 0 && o.Trial.Ended == "" {
			f.Message = fmt.Sprintf("the action did not end within %s", o.Spec.Timeout)
		}
	case a.OK():
		return nil
	default:
		f.Message = "the action " + how(a.Exit)
		f.Evidence = []model.Evidence{{Source: "exit", Text: fmt.Sprintf("%s, after %s", how(a.Exit), round(a.Duration))}}
		if deprived(o) {
			f.Severity = model.Unproven
			f.Message += ", but something outside of the world was denied to it"
		}
	}
	f.Evidence = append(f.Evidence, quote("action output", lines(a.Output))...)
	f.Control = "no action is run there"
	return []model.Finding{f}
}
