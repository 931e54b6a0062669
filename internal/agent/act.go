//go:build linux

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// defaultProbeTimeout bounds a probe that has no limit of its own.
const defaultProbeTimeout = 15 * time.Second

// act runs the probes, the action, and the probes again.
func (r *run) act(ctx context.Context) error {
	if len(r.spec.Probes) > 0 {
		r.progress("probe", "before the action, in both worlds")
	}
	before := r.probe(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fault.ProbesRun.Hit(); err != nil {
		return err
	}
	r.progress("act", "in the trial world")
	limited, cancel := context.WithTimeout(ctx, r.spec.Timeout)
	limited, release := r.untilRefused(limited)
	defer release()
	result := r.trial.watch.Run(limited, "action", r.spec.Action, r.spec.Env, r.spec.Dir, false)
	refused := r.refused()
	cancel()
	r.trial.seen.Action = &result // also when the world was ended under it
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fault.ActionRun.Hit(); err != nil {
		return err
	}
	if refused {
		return nil // the run ends here, unproven
	}
	r.trial.seen.DeadlineHit = result.Exit == nil && result.Err == ""
	r.progress("settle", "watching for "+r.spec.Settle.String())
	r.trial.watch.BeginVitals()
	r.control.watch.BeginVitals()
	settling, settled := r.untilRefused(ctx)
	defer settled()
	select {
	case <-time.After(r.spec.Settle):
	case <-settling.Done():
		return ctx.Err() // nil when it is for a peer that must not be touched
	}
	if err := fault.WorldSettled.Hit(); err != nil {
		return err
	}
	for _, s := range []*side{r.trial, r.control} {
		var err error
		if s.seen.Listening, err = s.watch.EndVitals(); err != nil {
			s.seen.Incomplete = append(s.seen.Incomplete, err.Error())
		}
	}
	after := r.probe(ctx)
	for i, p := range r.spec.Probes {
		for n, s := range []*side{r.trial, r.control} {
			s.seen.Probes = append(s.seen.Probes, model.ProbeResult{
				Name: p.Name, Command: p.Command, Before: before[n][i], After: after[n][i],
			})
		}
	}
	return ctx.Err()
}

// probe runs every probe in both worlds at once: [0] is the trial.
func (r *run) probe(ctx context.Context) (results [2][]model.CommandResult) {
	var wg sync.WaitGroup
	for n, s := range []*side{r.trial, r.control} {
		results[n] = make([]model.CommandResult, len(r.spec.Probes))
		wg.Go(func() {
			for i, p := range r.spec.Probes {
				limit := p.Timeout
				if limit == 0 {
					limit = defaultProbeTimeout
				}
				limited, cancel := context.WithTimeout(ctx, limit)
				results[n][i] = s.watch.Run(limited, "probe", p.Command, r.spec.Env, r.spec.Dir, true)
				cancel()
			}
		})
	}
	wg.Wait()
	return results
}
