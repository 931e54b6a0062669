package model

import "time"

// Steered is what a user did to a run while it went on.
type Steered struct {
	// Stopped says what the run was at when it was told to stop, or is empty: a
	// phase before the action, [SteeredAction] or [SteeredSettle]. After is how
	// long that had lasted.
	Stopped string        `json:"stopped,omitempty"`
	After   time.Duration `json:"after_ns,omitempty"`
	// Timeout and Settle are by how much those of the spec were extended.
	Timeout time.Duration `json:"timeout_extended_ns,omitempty"`
	Settle  time.Duration `json:"settle_extended_ns,omitempty"`
}

// Values of Stopped.
const (
	SteeredAction = "action"
	SteeredSettle = "settle"
)
