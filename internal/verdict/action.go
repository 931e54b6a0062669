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
		f.Message = subject(o) + " was not run"
		return []model.Finding{f}
	case a.Err != "":
		f.Rule = "action-not-started"
		f.Message = subject(o) + " could not be started: " + a.Err
	case a.Exit == nil:
		f.Rule, f.Severity = "action-unfinished", model.Unproven
		f.Message = subject(o) + " did not end"
		if refused(o) || o.Trial.Steered.Stopped != "" {
			f.Message = subject(o) + " was not waited for"
		} else if o.Spec.Timeout > 0 && o.Trial.Ended == "" {
			f.Message += fmt.Sprintf(" within %s", o.Spec.Timeout+o.Trial.Steered.Timeout)
		}
	case a.OK(), o.Spec.Shell && a.Exit.Signal == "": // which is that of the command typed last
		return nil
	default:
		f.Message = subject(o) + " " + how(a.Exit)
		f.Evidence = []model.Evidence{{Source: "exit", Text: fmt.Sprintf("%s, after %s", how(a.Exit), round(a.Duration))}}
		if o.Spec.Shell {
			f.Severity = model.Unproven
		}
		if deprived(o) {
			f.Severity = model.Unproven
			f.Message += ", but something outside of the world was denied to it"
		}
	}
	f.Evidence = append(f.Evidence, quote("action output", lines(a.Output))...)
	f.Control = "no action is run there"
	return []model.Finding{f}
}
