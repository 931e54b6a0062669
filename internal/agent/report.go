//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// report ends the worlds and judges.
func (r *run) report(ctx context.Context) (*model.Report, error) {
	r.guard.halt()
	for name, s := range map[string]**side{"trial": &r.trial, "control": &r.control} {
		if *s == nil {
			*s = &side{} // ended before it was made
		}
		(*s).seen.Name = name
		r.guard.conclude((*s).ward, &(*s).seen)
		if err := (*s).observed(); err != nil {
			return nil, err
		}
	}
	// It may tell of a pause that led to no snapshot.
	if r.broke != nil && r.broke != context.Canceled {
		r.trial.seen.Incomplete = append(r.trial.seen.Incomplete, "the run: "+r.broke.Error())
	}
	r.gaps = append(r.gaps, r.guard.crowding()...)
	for _, s := range []*side{r.trial, r.control} {
		for _, text := range s.untold {
			r.gaps = append(r.gaps, model.Gap{Object: "events", Detail: "of the " + s.seen.Name + ": " + text})
		}
	}
	diffs := map[*side]*image.Tree{}
	for _, s := range []*side{r.trial, r.control} {
		switch {
		case s.world == nil:
		case s.seen.Ended != "":
			s.seen.Incomplete = append(s.seen.Incomplete, "files: not compared, since the world was ended")
		default:
			diffs[s] = s.world.Tree
		}
	}
	untraced := r.endTrace()
	r.progress("erase", "both worlds and the snapshot")
	closing := errors.Join(r.closeWorlds(), untraced)
	var old originals
	if len(diffs) > 0 {
		old = r.originals()
	}
	for s, tree := range diffs {
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
		r.leftOut(s.seen.Name, s.meanings(ctx, r, old, tree, files))
		s.seen.Files = append(s.seen.Files, files...)
	}
	host, _ := os.Hostname()
	out := &model.Report{
		Version: model.Version, ID: filepath.Base(r.dir), Host: host,
		Started: r.began, Duration: time.Since(r.began),
		Spec: r.spec, Pause: r.snapTime, Collapse: r.collapsed, Data: r.ways(), Trial: r.trial.seen, Control: r.control.seen,
		Verdict: verdict.Judge(model.Observation{
			Spec: r.spec, Trial: r.trial.seen, Control: r.control.seen, Gaps: r.gaps,
		}),
		Confinement: r.confine.String(),
	}
	explain(out)
	if closing != nil {
		out.Leftovers = append(out.Leftovers, closing.Error())
	}
	if err := fault.RunJudged.Hit(); err != nil {
		return nil, err
	}
	return out, nil
}

// observed takes over what was seen of a world, as far as there was one.
func (s *side) observed() error {
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
