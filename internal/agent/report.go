//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// report ends the worlds and judges each trial.
func (r *round) report(ctx context.Context) ([]*model.Report, error) {
	r.guard.halt()
	for _, s := range r.sides() {
		r.guard.conclude(s.ward, &s.seen)
		if err := s.observed(); err != nil {
			return nil, err
		}
	}
	for _, s := range r.trials {
		s.seen.Steered = live.From(ctx).Steered()
	}
	// It may tell of a pause that led to no snapshot.
	if r.broke != nil && r.broke != context.Canceled {
		for _, s := range r.trials {
			s.seen.Incomplete = append(s.seen.Incomplete, "the run: "+r.broke.Error())
		}
	}
	r.lacks = append(r.lacks, r.guard.crowding()...)
	for _, s := range r.sides() {
		for _, text := range s.untold {
			s.gaps = append(s.gaps, model.Gap{Object: "events", Detail: "of the " + s.seen.Name + ": " + text})
		}
	}
	diffs := map[*side]*image.Tree{}
	for _, s := range r.sides() {
		switch {
		case s.world == nil:
		case s.seen.Ended != "":
			s.seen.Incomplete = append(s.seen.Incomplete, "files: not compared, since the world was ended")
		default:
			diffs[s] = s.world.Tree
		}
	}
	untraced := r.endTrace()
	r.progress("erase", "the worlds")
	closing := errors.Join(r.close(), untraced)
	var old *originals
	if len(diffs) > 0 {
		old = r.originals()
	}
	for _, s := range r.sides() {
		tree, compared := diffs[s]
		if !compared {
			continue
		}
		files, err := r.image.Diff(ctx, tree)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.seen.Incomplete = append(s.seen.Incomplete, fmt.Sprintf("files: %v", err))
		}
		for i := range files {
			files[i].Member = r.memberOf(files[i].Path)
		}
		s.logs(tree, files)
		s.leftOut(s.meanings(ctx, r, old, tree, files))
		s.seen.Files = append(s.seen.Files, files...)
	}
	closing = errors.Join(closing, r.erase())
	var out []*model.Report
	for i, s := range r.trials {
		out = append(out, r.reportOf(i, s))
		if closing != nil {
			out[i].Leftovers = append(out[i].Leftovers, closing.Error())
		}
	}
	if err := fault.RunJudged.Hit(); err != nil {
		return nil, err
	}
	return out, nil
}

// reportOf judges the i-th trial, and tells of it as of a run of its own.
func (r *round) reportOf(i int, s *side) *model.Report {
	host, _ := os.Hostname()
	spec := r.spec
	spec.Action = s.action
	seen := model.Observation{
		Spec: spec, Trial: s.seen, Control: r.controls[0].seen, Gaps: slices.Concat(r.gaps, r.lacks, s.gaps),
		Rationed: r.guard.decide.Crowding,
	}
	for n, c := range r.controls {
		seen.Gaps = append(seen.Gaps, c.gaps...)
		if n > 0 {
			seen.More = append(seen.More, c.seen)
		}
	}
	out := &model.Report{
		Version: model.Version, ID: filepath.Base(r.dir), Host: host,
		Started: r.began, Duration: time.Since(r.began),
		Spec: spec, Pause: r.snapTime, Collapse: r.collapsed, Data: r.ways(), Trial: s.seen, Control: r.controls[0].seen,
		Verdict: verdict.Judge(seen), Confinement: r.confine.String(),
	}
	if r.several() {
		out.Part = &model.Part{
			Number: r.number*len(r.trials) + i + 1, Of: r.series.Count(),
			Compared: len(r.trials) > 1, Jitter: r.jitter,
		}
	}
	explain(out)
	return out
}

// observed takes over what was seen of a world, as far as there was one.
func (s *side) observed() error {
	s.seen.Injured = s.injuries.finish()
	if s.world == nil {
		return nil
	}
	s.seen.Spawn = s.world.Spawn
	if s.watch == nil {
		return nil
	}
	s.seen.Processes = s.watch.Processes()
	s.seen.Lifetime = time.Since(s.world.Released)
	s.seen.WallClockAhead = s.world.WallAhead
	attempts, incomplete := s.world.Attempts(s.world.Released)
	s.seen.Attempts = append(s.seen.Attempts, attempts...)
	if incomplete != "" {
		s.seen.Incomplete = append(s.seen.Incomplete, incomplete)
	}
	s.gather()
	s.happened()
	s.outside()
	s.outputs()
	if s.seen.Ended != "" {
		return nil // nobody is left to be looked at
	}
	if err := s.world.Audit(); err != nil {
		return fmt.Errorf("at the end, world %s: %w", s.world.Name, err)
	}
	return nil
}

// outside takes over what the world wrote to files of the host, in its own layers.
func (s *side) outside() {
	changes, more, err := s.world.Init().Changes()
	for _, c := range changes {
		s.seen.Files = append(s.seen.Files, model.FileChange{Sign: c.Sign, Path: c.Path, Old: c.Old, New: c.New})
	}
	if more {
		err = fmt.Errorf("there are more than %d", len(changes))
	}
	if err != nil {
		s.seen.Incomplete = append(s.seen.Incomplete, fmt.Sprintf("files outside of the data: %v", err))
	}
}

func (r *run) memberOf(path string) string {
	for _, m := range r.spec.Members {
		if capture.Within(path, m.Data) {
			return m.Name
		}
	}
	return ""
}
