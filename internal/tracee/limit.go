//go:build linux

package tracee

import (
	"context"
	"errors"
	"time"
)

// A Limit bounds what is done while production is stopped: by a deadline, and
// by the wish of the user to end it.
type Limit struct {
	ctx context.Context
	at  time.Time
}

// NewLimit makes a limit that ends at a moment, or earlier with ctx.
func NewLimit(ctx context.Context, at time.Time) Limit { return Limit{ctx, at} }

// At is when the limit ends at the latest.
func (l Limit) At() time.Time { return l.at }

// Err returns nil while there is time left. It looks at the clock: a timer of
// the runtime may be late when every processor is busy.
func (l Limit) Err() error {
	if time.Now().After(l.at) {
		return ErrBudget
	}
	if err := l.ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
