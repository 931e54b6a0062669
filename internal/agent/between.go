//go:build linux

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// betweenEvery is how long probes that are run all the time rest between two goes.
const betweenEvery = 500 * time.Millisecond

// between runs the probes that are run all the time.
type between struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	// results are those of each world, in the order of [round.sides], nil for other
	// probes. They may be read when all has stopped.
	results [][]*model.Between
}

// between begins to run them, in all worlds.
func (r *round) between(ctx context.Context) *between {
	b := &between{}
	ctx, b.cancel = context.WithCancel(ctx)
	for _, s := range r.sides() {
		results := make([]*model.Between, len(r.spec.Probes))
		b.results = append(b.results, results)
		var some bool
		for i, p := range r.spec.Probes {
			if p.When == model.WhenAlways {
				results[i], some = &model.Between{}, true
			}
		}
		if some {
			b.wg.Go(func() {
				ctx, cancel := s.untilEnded(ctx)
				defer cancel()
				r.askAgain(ctx, s, results)
			})
		}
	}
	return b
}

// askAgain runs the probes of a world that have a place for results, until ctx ends.
func (r *round) askAgain(ctx context.Context, s *side, results []*model.Between) {
	for wait(ctx, betweenEvery) {
		for i, p := range r.spec.Probes {
			if results[i] == nil {
				continue
			}
			at := time.Since(s.world.Released)
			got := r.ask(ctx, s, p)
			if ctx.Err() != nil {
				return // it was cut short
			}
			_, passes := verdict.Outcome(r.spec, p.Name, got)
			results[i].Add(at, got, passes)
		}
	}
}

// stop ends it. It may be called again.
func (b *between) stop() {
	b.cancel()
	b.wg.Wait()
}

// of returns how a probe fared in a world.
func (b *between) of(world, probe int) *model.Between { return b.results[world][probe] }
