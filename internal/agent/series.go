//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
)

// usualWorlds is a trial and its control.
const usualWorlds = 2

// Series pilots spec as s says, from one snapshot. It tells a report for each trial,
// in the order of their rounds and of s.Actions, when the trial's round is over, and
// keeps none: there may be many, and each may be large. Rounds that came to their end
// are told also when it returns an error. Fewer are told, and there is no error, when
// the worlds had to be ended to protect production.
func (e Engine) Series(ctx context.Context, spec model.Spec, s model.Series, workDir string, progress func(phase, text string), told func(*model.Report)) (err error) {
	if pid, mounts, ok := e.elsewhere(spec.Members); ok && requireRoot() == nil {
		return e.seriesInside(ctx, pid, mounts, spec, s, workDir, progress, told)
	}
	if len(s.Actions) == 0 {
		s.Actions = [][]string{spec.Action}
	}
	s.Rounds = max(s.Rounds, 1)
	r := &run{spec: spec, series: s, dir: workDir, progress: progress, began: time.Now(), engine: e, readLoad: readLoad}
	if e.ReadHost != nil {
		r.readLoad = e.ReadHost
	}
	var last []*model.Report // of a round, not told yet
	defer func() {
		if cerr := r.close(); cerr != nil {
			if n := len(last); err == nil {
				last[n-1].Leftovers = append(last[n-1].Leftovers, cerr.Error())
			} else {
				err = errors.Join(err, cerr)
			}
		}
		for _, report := range last {
			told(report)
		}
	}()
	if err := requireRoot(); err != nil {
		return err
	}
	if err := os.MkdirAll(workDir, 0o700); err != nil {
		return err
	}
	if n, err := sys.NiceOf(); err == nil {
		r.nice = niceness(n)
		r.nice.modest()
		defer r.nice.usual()
	}
	progress("check", fmt.Sprintf("%d members", len(spec.Members)))
	if err := r.check(ctx); err != nil {
		return err
	}
	if err := fault.AgentChecked.Hit(); err != nil {
		return err
	}
	if err := r.sweep(); err != nil {
		return err
	}
	r.guard = &guard{read: r.readLoad, dir: r.dir, limits: r.spec.Limits}
	for n := range s.Rounds {
		got, err := r.round(ctx, n)
		if err != nil {
			return err
		}
		for _, report := range last {
			told(report)
		}
		if last = got; n+1 == s.Rounds {
			break
		}
		for _, report := range got {
			progress("round", fmt.Sprintf("%d of %d: %s, %s", n+1, s.Rounds, report.Verdict.Status, report.Verdict.Reason))
		}
		if left := got[0].Leftovers; len(left) > 0 {
			return fmt.Errorf("erase the worlds of round %d: %s", n+1, left[0])
		}
		if r.guard.ended() != "" {
			break // production does not bear another round
		}
	}
	return nil
}

// round makes worlds of the snapshot, the first also the snapshot, acts, reports
// and erases the worlds.
func (r *run) round(ctx context.Context, n int) ([]*model.Report, error) {
	rd := r.newRound(n)
	r.open = rd
	if n == 0 {
		rd.began = r.began
	}
	steps := []func(context.Context) error{rd.spawn, rd.act}
	if n == 0 {
		steps = append([]func(context.Context) error{r.collapse, r.snapshot}, steps...)
	} else {
		r.openTrace()
	}
	guarded := r.guard.begin(ctx)
	leave := r.attend(ctx)
	defer leave()
	for _, step := range steps {
		if err := step(guarded); err != nil && (r.guard.ended() == "" || ctx.Err() != nil) {
			return nil, err
		} else if err != nil {
			rd.broke = err // for want of the worlds
			break
		}
	}
	leave()
	return rd.report(ctx)
}

// worlds is how many there are at the same time.
func (r *run) worlds() int { return len(r.series.Actions) + r.idle() }

// idle is in how many of them nothing is done.
func (r *run) idle() int { return max(r.spec.Controls, 1) }

// several reports whether there is more than one report.
func (r *run) several() bool { return r.series.Count() > 1 }
