// Package live is what one can do with a run while it goes on: ask how far it
// is, end it, give it more time, and sit at a terminal in its world.
//
// A [Steer] is between a user, who is in another process, and the engine, which
// asks it how long to wait instead of the clock. It goes with the run's context,
// as the cancellation does: whoever waits has it at hand, and an engine to which
// nobody speaks waits as if there were none.
package live

import (
	"errors"
	"fmt"
	"time"
)

// The verbs of a [Request].
const (
	VerbStatus = "status"
	VerbStop   = "stop"
	VerbExtend = "extend"
	// VerbResize is not for users: the terminal of a shell has another size.
	VerbResize = "resize"
)

// MostExtension bounds one extension. Who wants more asks again.
const MostExtension = 24 * time.Hour

// A Request asks something of a run that goes on.
type Request struct {
	Verb string        `json:"verb"`
	By   time.Duration `json:"by_ns,omitempty"` // of extend
	Size Size          `json:"size,omitzero"`   // of resize
}

// Check returns what is wrong with r.
func (r Request) Check() error {
	switch r.Verb {
	case VerbStatus, VerbStop, VerbResize:
		return nil
	case VerbExtend:
		if r.By <= 0 || r.By > MostExtension {
			return fmt.Errorf("extend by %s: must be more than 0 and at most %s", r.By, MostExtension)
		}
		return nil
	}
	return fmt.Errorf("unknown verb %q", r.Verb)
}

// An Answer is what a run says to a [Request].
type Answer struct {
	Error string `json:"error,omitempty"`
	// Text is one line for people: what will be.
	Text   string  `json:"text,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// Err is the error in a, or nil.
func (a Answer) Err() error {
	if a.Error == "" {
		return nil
	}
	return errors.New(a.Error)
}

// A Status is how far a run is.
type Status struct {
	Phase string    `json:"phase"`
	Text  string    `json:"text,omitempty"` // more of the phase, for people
	Since time.Time `json:"since"`          // of the phase
	// Waits are those whose end is known.
	Waits []Wait `json:"waits"`
	// Stopping is set when the user has ended the run.
	Stopping bool    `json:"stopping,omitempty"`
	Worlds   []World `json:"worlds"`
}

// A Wait is a bounded stretch of a run: the action, or the watching after it.
type Wait struct {
	For   string        `json:"for"` // ForAction or ForSettle
	Began time.Time     `json:"began"`
	Left  time.Duration `json:"left_ns"`
}

// What a run waits for.
const (
	ForAction = "action" // at most for the timeout
	ForSettle = "settle"
)

// A World is one that lives.
type World struct {
	Name      string `json:"name"`
	Processes int    `json:"processes"` // pilot's own first one included
	// Memory is what its control group is charged with, in bytes; 0 when that is
	// not known.
	Memory int64 `json:"memory_bytes,omitempty"`
}
