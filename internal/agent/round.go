//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/spawn"
)

// A round is worlds of one snapshot that live at the same time: one or more
// trials, each with an action of its own, and one or more controls.
type round struct {
	*run
	number           int // from 0
	began            time.Time
	jitter           time.Duration
	trials, controls []*side
	lacks            []model.Gap // of the worlds of this round
	// broke is what kept the round from going on when the worlds were ended.
	broke error
}

// newRound names the worlds of round n, of which there is none yet.
func (r *run) newRound(n int) *round {
	rd := &round{run: r, number: n, began: time.Now()}
	if r.series.Jitter > 0 {
		rd.jitter = rand.N(r.series.Jitter + 1)
	}
	for i, action := range r.series.Actions {
		rd.trials = append(rd.trials, &side{name: numbered("trial", i, len(r.series.Actions)), action: action})
		rd.trials[i].seen.Name = "trial" // each is that of its report
	}
	for i := range r.idle() {
		rd.controls = append(rd.controls, &side{name: numbered("control", i, r.idle())})
		rd.controls[i].seen.Name = "control"
		if i > 0 {
			rd.controls[i].seen.Name = fmt.Sprintf("control %d", i+1)
		}
	}
	for _, s := range rd.sides() {
		for _, rule := range r.spec.LogRules {
			if re, err := regexp.Compile(rule.Pattern); err == nil { // it was looked at before
				s.logRules = append(s.logRules, re)
			}
		}
	}
	return rd
}

// numbered is the name of the i-th world of a sort, or just name of the only one.
func numbered(name string, i, of int) string {
	if of == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}

// sides are all worlds of the round, the trials first.
func (r *round) sides() []*side { return slices.Concat(r.trials, r.controls) }

// spawn makes all worlds and lets them run.
func (r *round) spawn(ctx context.Context) error {
	addresses, err := hostAddresses()
	if err != nil {
		return err
	}
	r.nice.usual() // which what is started in the worlds inherits
	if err := r.confine.hurried(r.seeds, func() error { return r.raise(ctx, addresses) }); err != nil {
		return err
	}
	// Not before: that the worlds are made is pilot's own work, and it is better
	// soon over, since production copies pages as long as there are seeds.
	if err := r.confine.groups.Yield(); err != nil {
		return err
	}
	r.nice.modest()
	r.guard.running(r.confine.groups)
	for _, s := range r.sides() {
		if err := s.release(); err != nil {
			return fmt.Errorf("release world %s: %w", s.world.Name, err)
		}
		s.watch = observe.New(s.world)
		if err := fault.WorldReleased.Hit(); err != nil {
			return err
		}
	}
	for _, s := range r.trials {
		s.gaps = append(s.gaps, clockGap(s.world, r.controls[0].world))
	}
	return nil
}

// raise makes all worlds complete.
func (r *round) raise(ctx context.Context, addresses []string) error {
	for _, s := range r.sides() {
		if err := r.build(ctx, s, addresses); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, gap := range r.trials[0].world.Gaps { // all trials have the same
		if !slices.Contains(r.gaps, gap) {
			r.lacks = append(r.lacks, gap)
		}
	}
	r.beginTrace()
	var worlds []*spawn.World
	for _, s := range r.sides() {
		worlds = append(worlds, s.world)
	}
	opening := spawn.Opening(worlds...)
	for _, w := range worlds {
		if err := w.Wake(opening); err != nil {
			return err
		}
	}
	return nil
}

// build makes one world, which does not run yet.
func (r *round) build(ctx context.Context, s *side, addresses []string) (err error) {
	r.progress("spawn", s.name+" world")
	if s.cage, err = r.confine.cage(s.name, r.spec.Limits.MaxMemory); err != nil {
		return err
	}
	s.world, err = spawn.New(ctx, r.tracer, r.snap, spawn.Config{
		Name: s.name, Dir: r.worldDir(s),
		Members: r.spec.Members, Addresses: addresses, Outside: r.engine.outside(),
		ScratchSize: plan.ScratchSize(r.spec.Limits), Confinement: s.cage, Stops: r.stops(s),
	})
	if err != nil {
		s.world = nil
		return err
	}
	s.tree = s.world.Tree
	if err := fault.WorldSpawned.Hit(); err != nil {
		return err
	}
	needed := s.action == nil || len(r.trials) == 1
	if s.ward, err = r.guard.add(s.world, s.cage.group, needed); err != nil {
		return err
	}
	r.gateway(s)
	return nil
}

// stops are the calls that members whose disks are to fail in s are stopped at.
func (r *round) stops(s *side) map[string][]seal.Rule {
	stops := map[string][]seal.Rule{}
	if s.action == nil {
		return stops
	}
	for _, i := range r.spec.AlsoFail {
		switch i.Kind {
		case model.InjurySlowDisk:
			stops[i.Member] = append(stops[i.Member], seal.Syncs...)
		case model.InjuryDiskFull:
			stops[i.Member] = append(stops[i.Member], seal.Writes...)
		}
	}
	return stops
}

func (r *round) worldDir(s *side) string { return filepath.Join(r.dir, "worlds", s.name) }

// close ends the worlds that are left, whatever state they are in.
func (r *round) close() error {
	if r == nil {
		return nil
	}
	r.guard.dismiss()
	errs := []error{r.confine.hasten()}
	for _, s := range r.sides() {
		s.injuries.finish()
		if s.world == nil {
			continue
		}
		errs = append(errs, s.world.Close())
		s.unguard()
		if s.watch != nil {
			s.watch.Wait()
		}
		s.world = nil
		errs = append(errs, fault.WorldsClosed.Hit())
	}
	return errors.Join(errs...)
}

// erase makes room for the next round: it deletes what the worlds, which have
// ended, have on disks, and their groups.
func (r *round) erase() error {
	var errs []error
	for _, s := range r.sides() {
		if s.tree != nil {
			errs = append(errs, r.image.Forget(s.tree))
			s.tree = nil
		}
		errs = append(errs, os.RemoveAll(r.worldDir(s)), r.confine.release(s.cage))
		s.cage = nil
	}
	return errors.Join(errs...)
}
