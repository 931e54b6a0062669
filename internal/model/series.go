package model

import "time"

// A Series says what is done with the worlds of one snapshot. The zero value
// stands for one round: the spec's action in a trial, beside its controls.
type Series struct {
	// Actions are tried at the same time, each in a trial of its own. None stand
	// for the spec's.
	Actions [][]string `json:"actions,omitempty"`
	// Rounds is how often that is done, one after the other. 0 stands for 1.
	Rounds int `json:"rounds,omitempty"`
	// Jitter is the longest that the actions of a round are held back. How long
	// it is, is left to chance, so that races show.
	Jitter time.Duration `json:"jitter_ns,omitempty"`
	// Recovery has the checks run again and again after the actions, to tell how
	// long it takes until they pass.
	Recovery bool `json:"recovery,omitempty"`
}

// Count is how many reports the series has when it is complete.
func (s Series) Count() int { return max(s.Rounds, 1) * max(len(s.Actions), 1) }

// A Part says which one a report is of those that share a snapshot.
type Part struct {
	// Series is the id of the first of them.
	Series string `json:"series"`
	Number int    `json:"number"` // from 1
	Of     int    `json:"of"`
	// Compared is set where the others tried other actions at the same time.
	Compared bool `json:"compared,omitempty"`
	// Jitter is how long the action was held back.
	Jitter time.Duration `json:"jitter_ns,omitempty"`
}

// A Recovery tells how long it took after the action until all checks passed.
type Recovery struct {
	Healthy bool `json:"healthy"`
	// After is since the action's end. Where it is not healthy, it is how long
	// was waited for that.
	After time.Duration `json:"after_ns"`
}
