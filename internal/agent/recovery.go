//go:build linux

package agent

import (
	"context"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// recoverEvery is how long the checks rest between two goes.
const recoverEvery = 100 * time.Millisecond

// awaitHealth runs the checks in the i-th trial, right after its action, until they
// all pass, and notes how long that took. It waits for as long as worlds are
// watched, and with patience if there is hope.
func (r *round) awaitHealth(ctx context.Context, i int) {
	s := r.trials[i]
	if s.seen.Action.Exit == nil {
		return // there is no end to count from
	}
	for began := time.Now(); ctx.Err() == nil; {
		healthy := r.healthy(r.probeIn(ctx, s, model.Probe.AsksAfter))
		after := time.Since(began)
		if ctx.Err() != nil {
			return // the last go was cut short
		}
		s.seen.Recovery = &model.Recovery{Healthy: healthy, After: after}
		left := r.spec.Settle + r.spec.Patience - after
		if healthy || left <= 0 || left <= r.spec.Patience && verdict.Foresee(r.soFar(i)).Hopeless || !wait(ctx, recoverEvery) {
			return
		}
	}
}

// healthy reports whether all checks gave what the run wants of them.
func (r *round) healthy(results []model.CommandResult) bool {
	for i, p := range r.spec.Probes {
		if results[i].Skipped {
			continue
		}
		if _, passes := verdict.Outcome(r.spec, p.Name, results[i]); !passes {
			return false
		}
	}
	return true
}

// ended reports whether the world was ended before the round.
func (s *side) ended() bool {
	if s.ward == nil {
		return false
	}
	select {
	case <-s.ward.over:
		return true
	default:
		return false
	}
}

// untilEnded bounds ctx by the end of the world.
func (s *side) untilEnded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if s.ward == nil {
		return ctx, cancel
	}
	go func() {
		select {
		case <-s.ward.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
