//go:build linux

package agent

import (
	"context"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// leastWindow is how long worlds are watched at least when they are watched again.
const leastWindow = time.Second

// settle watches the worlds and runs the checks after it, again and again while
// only that is wrong which time may mend: members may need long to come back, and
// worlds long to answer on a busy host. It returns nil when the run ends before.
func (r *round) settle(ctx context.Context, before [][]model.CommandResult) (after [][]model.CommandResult, err error) {
	r.progress("settle", "watching for "+r.spec.Settle.String())
	began := time.Now()
	patience := r.spec.Patience
	if r.series.Recovery {
		patience = 0 // the checks were waited for
	}
	window := r.spec.Settle
	wrong := make([]bool, len(r.trials)) // at some time, and not by noise alone
	for again := false; ; again = true {
		if whole, err := r.watchFor(ctx, window); err != nil || !whole {
			return nil, err
		}
		after = r.probe(ctx, model.Probe.AsksAfter)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		waited := time.Since(began)
		left := r.spec.Settle + patience - waited
		pending := r.pending(before, after, wrong, waited)
		if !pending || left <= 0 || stopped(ctx) {
			return after, fault.WorldSettled.Hit()
		}
		if !again {
			r.progress("settle", "not all is well yet; watching on for at most "+left.Round(time.Second).String())
		}
		window = min(max(r.spec.Settle, leastWindow), left)
	}
}

// pending reports whether more time may make a trial a better one, and notes which were
// wrong at some time, and when they were well again.
func (r *round) pending(before, after [][]model.CommandResult, wrong []bool, waited time.Duration) (any bool) {
	if slices.ContainsFunc(r.sides(), (*side).ended) {
		return false // there is nothing to compare with
	}
	for i, s := range r.trials {
		p := verdict.Foresee(r.probed(i, before, after))
		if wrong[i] && s.seen.Recovery == nil && !p.Wrong && !p.Unsure {
			s.seen.Recovery = &model.Recovery{Healthy: true, After: waited}
		}
		wrong[i] = wrong[i] || p.Wrong
		any = any || p.Pending()
	}
	return any
}

// watchFor watches the worlds for a while. whole is false when that ended early,
// for a peer that must not be touched.
func (r *round) watchFor(ctx context.Context, d time.Duration) (whole bool, err error) {
	for _, s := range r.sides() {
		s.watch.BeginVitals()
	}
	settling, settled := r.untilRefused(ctx)
	defer settled()
	watching, watched := live.From(ctx).Within(settling, live.ForSettle, d)
	<-watching.Done()
	watched()
	if settling.Err() != nil {
		return false, ctx.Err()
	}
	for _, s := range r.sides() {
		if s.ended() {
			continue
		}
		listening, err := s.watch.EndVitals()
		if err != nil {
			s.seen.Incomplete = append(s.seen.Incomplete, err.Error())
		}
		s.seen.Listening = withoutGateway(listening)
	}
	return true, nil
}

// soFar is what was seen of the i-th trial up to now, without checks.
func (r *round) soFar(i int) model.Observation {
	world := func(s *side) model.World {
		seen := s.seen
		seen.Processes = s.watch.Processes()
		return seen
	}
	o := model.Observation{Spec: r.spec, Trial: world(r.trials[i]), Control: world(r.controls[0])}
	o.Spec.Action = r.trials[i].action
	return o
}

// probed is likewise, with what the checks gave.
func (r *round) probed(i int, before, after [][]model.CommandResult) model.Observation {
	o := r.soFar(i)
	for n, s := range r.sides() {
		switch s {
		case r.trials[i]:
			o.Trial.Probes = r.results(n, before, after)
		case r.controls[0]:
			o.Control.Probes = r.results(n, before, after)
		}
	}
	return o
}

// results pairs what the probes gave in a world.
func (r *round) results(world int, before, after [][]model.CommandResult) []model.ProbeResult {
	list := make([]model.ProbeResult, 0, len(r.spec.Probes))
	for i, p := range r.spec.Probes {
		list = append(list, model.ProbeResult{Name: p.Name, Command: p.Command, Before: before[world][i], After: after[world][i]})
	}
	return slices.Clip(list)
}
