package verdict

import "github.com/pilotexec/pilot/internal/model"

// Outcome is what a probe gave, in a few words, and whether that is what the run
// wanted of it.
func Outcome(s model.Spec, probe string, r model.CommandResult) (text string, passes bool) {
	want := wanted(s, probe)
	return outcome(want, r), good(want, r)
}
