package model

import (
	"fmt"
	"strings"
)

// A RefusedError says that a run was declined before anything was stopped.
type RefusedError struct{ Refusals []Refusal }

// Error names the first refusal and counts the others.
func (e *RefusedError) Error() string {
	switch n := len(e.Refusals); n {
	case 0:
		return "refused"
	case 1:
		return "refused: " + e.Refusals[0].String()
	default:
		return fmt.Sprintf("refused: %s (and %d more)", e.Refusals[0], n-1)
	}
}

// String is the refusal on one line, without its hint.
func (r Refusal) String() string {
	var parts []string
	switch {
	case r.Member != "" && r.PID != 0:
		parts = append(parts, fmt.Sprintf("%s (pid %d)", r.Member, r.PID))
	case r.Member != "":
		parts = append(parts, r.Member)
	case r.PID != 0:
		parts = append(parts, fmt.Sprintf("pid %d", r.PID))
	}
	if object := strings.TrimSpace(r.Object + " " + r.Kind); object != "" {
		parts = append(parts, object)
	}
	return strings.Join(append(parts, r.Why), ": ")
}

// A UsageError says that the command line, the environment or pilot.yaml is
// wrong. Nothing was done.
type UsageError struct {
	Err  error
	Hint string // what to type instead, or empty
}

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// A HintError adds to an error what the user can do about it.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *HintError) Unwrap() error { return e.Err }
