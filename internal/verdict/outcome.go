package verdict

import "github.com/pilotexec/pilot/internal/model"

// Outcome is what a probe gave, in a few words, and whether that is what the run
// wanted of it.
func Outcome(s model.Spec, probe string, r model.CommandResult) (text string, passes bool) {
	want := wanted(s, probe)
	return outcome(want, r), good(want, r)
}

// A Record is a figure of a store that a trial has otherwise than a control.
type Record struct {
	model.Difference
	Fell bool // it became smaller in the trial
}

// Records are all of them.
func Records(trial, control model.World) []Record {
	return records(model.Observation{Trial: trial, Control: control})
}
