package verdict

import (
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// steered tells what the user did to the run. Watching for less long than was
// asked for before is the user's choice, and leaves the verdict as it is; an
// action that was not waited for proves nothing.
func steered(o model.Observation) (found []model.Finding) {
	s := o.Trial.Steered
	add := func(severity model.Severity, format string, args ...any) {
		found = append(found, model.Finding{Rule: "steered", Severity: severity, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case s.Stopped == "":
	case s.Stopped == model.SteeredAction:
		add(model.Unproven, "the user stopped the run %s after %s began", round(s.After), subject(o))
	case s.Stopped == model.SteeredSettle:
		add(model.Warning, "the user ended the watching early, after %s of %s", round(s.After), o.Spec.Settle+s.Settle)
	case o.Trial.Ended == "": // else it was said
		add(model.Unproven, "the user stopped the run before %s", subject(o))
	}
	for _, e := range []struct {
		what string
		by   time.Duration
	}{{"time of " + subject(o), s.Timeout}, {"watching", s.Settle}} {
		if e.by > 0 {
			add(model.Info, "the user extended the %s by %s", e.what, e.by)
		}
	}
	return found
}

// subject is what the action is called.
func subject(o model.Observation) string {
	if o.Spec.Shell {
		return "the shell"
	}
	return "the action"
}
