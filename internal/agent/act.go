//go:build linux

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// defaultProbeTimeout bounds a probe that has no limit of its own.
const defaultProbeTimeout = 15 * time.Second

// act runs the probes, the actions, and the probes again.
func (r *round) act(ctx context.Context) error {
	if len(r.spec.Probes) > 0 {
		r.progress("probe", "before the action, in all worlds")
	}
	before := r.probe(ctx, model.Probe.AsksBefore)
	if ctx.Err() == nil && verdict.Unsettled(r.spec.Probes, before) {
		// Worlds are slow at first: each page that they write is copied then, and on a
		// busy host they have little of the processors.
		r.progress("probe", "again, since a check did not end in time or the worlds, still alike, differ in it")
		before = r.probe(ctx, model.Probe.AsksBefore)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fault.ProbesRun.Hit(); err != nil {
		return err
	}
	if !wait(ctx, r.jitter) {
		return ctx.Err()
	}
	between := r.between(ctx)
	defer between.stop()
	r.progress("act", "in the trial world"+plural(len(r.trials)))
	steer := live.From(ctx)
	limited, cancel := steer.Within(ctx, live.ForAction, r.spec.Timeout)
	limited, release := r.untilRefused(limited)
	defer release()
	r.actions(limited, ctx)
	refused := r.refused()
	cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fault.ActionRun.Hit(); err != nil {
		return err
	}
	if refused || stopped(ctx) {
		return nil // the run ends here, unproven
	}
	for _, s := range r.trials {
		s.seen.DeadlineHit = !s.ended() && s.seen.Action.CutOff()
	}
	after, err := r.settle(ctx, before)
	if err != nil || after == nil {
		return err
	}
	between.stop()
	for n, s := range r.sides() {
		if s.ended() {
			continue // it has no results
		}
		s.seen.Probes = r.results(n, before, after)
		for i := range s.seen.Probes {
			s.seen.Probes[i].Between = between.of(n, i)
		}
	}
	return ctx.Err()
}

// actions runs every trial's action, all at once.
//
// Second failures may come until the round ends, which is when life does.
func (r *round) actions(ctx, life context.Context) {
	var wg sync.WaitGroup
	for i, s := range r.trials {
		wg.Go(func() {
			ctx, cancel := s.untilEnded(ctx)
			defer cancel()
			r.injure(life, s)
			result := r.perform(ctx, s)
			s.injuries.acted()
			s.seen.Action = &result // also when the world was ended under it
			if r.series.Recovery && len(r.spec.Probes) > 0 {
				r.awaitHealth(ctx, i)
			}
		})
	}
	wg.Wait()
}

// probe runs the probes that are asked now in all worlds at once. The results are in
// the order of [round.sides], and those of a world that was ended mean nothing.
func (r *round) probe(ctx context.Context, now func(model.Probe) bool) [][]model.CommandResult {
	var wg sync.WaitGroup
	results := make([][]model.CommandResult, len(r.sides()))
	for n, s := range r.sides() {
		wg.Go(func() {
			ctx, cancel := s.untilEnded(ctx)
			defer cancel()
			results[n] = r.probeIn(ctx, s, now)
		})
	}
	wg.Wait()
	return results
}

// probeIn runs the probes that are asked now in one world.
func (r *round) probeIn(ctx context.Context, s *side, now func(model.Probe) bool) []model.CommandResult {
	results := make([]model.CommandResult, len(r.spec.Probes))
	for i, p := range r.spec.Probes {
		if !now(p) {
			results[i].Skipped = true
			continue
		}
		results[i] = r.ask(ctx, s, p)
	}
	return results
}

// ask runs one probe in one world.
func (r *round) ask(ctx context.Context, s *side, p model.Probe) model.CommandResult {
	limit := p.Timeout
	if limit == 0 {
		limit = defaultProbeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return s.watch.Run(ctx, "probe", p.Command, r.spec.Env, r.spec.Dir, true)
}

// plural is what a word gets behind it where there are n.
func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
