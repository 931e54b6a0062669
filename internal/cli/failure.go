package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
)

// errNoEngine is for a pilot that was built without one.
var errNoEngine = errors.New("this build of pilot cannot touch processes")

func (a *app) engine() (Engine, error) {
	if a.Engine == nil {
		return nil, errNoEngine
	}
	return a.Engine, nil
}

// fail shows err and returns the exit status that it means.
func (a *app) fail(err error) int {
	var (
		refused *model.RefusedError
		misuse  *model.UsageError
		hinted  *model.HintError
	)
	switch {
	case errors.As(err, &refused):
		a.refused(refused.Refusals)
		return ExitRefused
	case errors.As(err, &misuse):
		a.complain(err, misuse.Hint)
		return ExitUsage
	case errors.Is(err, context.Canceled):
		for _, other := range besides(err) { // what else went wrong matters as well
			a.complain(other, "")
		}
		fmt.Fprintln(a.Stderr, "pilot: cancelled"+a.outcome)
		return ExitCancelled
	case errors.As(err, &hinted):
		a.complain(err, hinted.Hint)
	default:
		a.complain(err, "")
	}
	return ExitError
}

// besides returns what is joined in err beside the cancellation.
func besides(err error) (others []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			others = append(others, besides(e)...)
		}
		return others
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return []error{err}
}

// complain writes each line of err, and the hint unless it is empty.
func (a *app) complain(err error, hint string) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(a.Stderr, "pilot: error: %s\n", mask.Text(strings.TrimRight(line, "\n")))
	}
	if hint != "" {
		fmt.Fprintf(a.Stderr, "pilot: hint: %s\n", hint)
	}
}

// refused writes each refusal, and each hint once.
func (a *app) refused(refusals []model.Refusal) {
	var hints []string
	for _, r := range refusals {
		fmt.Fprintf(a.Stderr, "pilot: error: %s\n", mask.Text(r.String()))
		if r.Hint != "" && !slices.Contains(hints, r.Hint) {
			hints = append(hints, r.Hint)
		}
	}
	for _, h := range hints {
		fmt.Fprintf(a.Stderr, "pilot: hint: %s\n", h)
	}
	fmt.Fprintln(a.Stderr, "pilot: refused, nothing was stopped")
}
