package registry

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A Run is a run of this process. Its methods may be called by several
// goroutines.
type Run struct {
	store *Store
	dir   string

	mu    sync.Mutex
	state State // guarded by mu
}

// Begin records a new run of this process, and makes its work directory.
func (s *Store) Begin(spec model.Spec) (*Run, error) {
	start, err := s.startTime(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("begin run: %w", err)
	}
	return s.begin(spec, start, time.Now())
}

// begin records a run that began at a time. start is this process's.
func (s *Store) begin(spec model.Spec, start uint64, at time.Time) (*Run, error) {
	now := at.UTC()
	r := &Run{store: s, state: State{Version: model.Version, ID: newID(), PID: os.Getpid(), Start: start,
		Phase: Begun, Started: now, Changed: now, Action: spec.Action, Members: names(spec.Members)}}
	r.dir = filepath.Join(s.runs(), dirName(now, r.state.ID))
	r.state.Work = filepath.Join(r.dir, workDir)
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("begin run: %w", err)
	}
	// The state comes first: a run that dies here must be found by gc.
	if err := r.save(); err != nil {
		return nil, errors.Join(fmt.Errorf("begin run: %w", err), os.RemoveAll(r.dir))
	}
	if err := os.Mkdir(r.state.Work, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("begin run: %w", err), os.RemoveAll(r.dir))
	}
	return r, nil
}

// Next records another run of the same series, which has come to its end: its
// report is the i-th, counted from 0.
func (r *Run) Next(report *model.Report, i int) (*Run, error) {
	// Directories are listed by their times, and trials that were tried together
	// have the same.
	at := report.Started.Add(time.Duration(i) * time.Millisecond)
	return r.store.begin(report.Spec, r.state.Start, at)
}

// newID is a name that is short to type and not in use: 30 random bits.
func newID() string { return strings.ToLower(rand.Text()[:6]) }

func names(members []model.Member) []string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.Name
	}
	return list
}

// ID is the run's name.
func (r *Run) ID() string { return r.state.ID }

// Dir is the run's directory.
func (r *Run) Dir() string { return r.dir }

// Work is the run's work directory. The engine empties it at the end.
func (r *Run) Work() string { return r.state.Work }

// SetPhase records how far the run is.
func (r *Run) SetPhase(phase string) error {
	return r.change(func(s *State) { s.Phase = phase })
}

// Finish stores report under the run's id, its events beside it, makes it the latest, and erases runs
// that are too old to keep.
func (r *Run) Finish(report *model.Report) error {
	if err := r.Save(report); err != nil {
		return err
	}
	err := r.change(func(s *State) {
		s.Phase, s.Verdict, s.Part = Finished, report.Verdict.Status, report.Part
	})
	if err != nil {
		return err
	}
	if err := r.Latest(); err != nil {
		return err
	}
	r.clearWork()
	return r.store.prune(Keep)
}

// Save stores report as [Run.Finish] does, of a run that goes on. Events that were
// saved before stay when it has none.
func (r *Run) Save(report *model.Report) error {
	report.ID = r.ID()
	if err := saveEvents(r.dir, report); err != nil {
		return err
	}
	stored := *report
	stored.Trial.Events, stored.Control.Events = nil, nil
	if err := write(filepath.Join(r.dir, reportFile), stored); err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	return nil
}

// Latest makes the run, which has a report, the latest.
func (r *Run) Latest() error {
	if err := r.store.link(r.dir); err != nil {
		return fmt.Errorf("mark run %s as latest: %w", r.ID(), err)
	}
	return nil
}

// Fail records that pilot itself failed, for the reason cause.
func (r *Run) Fail(cause error) error {
	r.clearWork()
	return r.change(func(s *State) { s.Phase, s.Error = Failed, cause.Error() })
}

// clearWork removes the work directory if the engine left it empty. What is in
// it otherwise is for gc, which knows how to take it apart.
func (r *Run) clearWork() { _ = os.Remove(r.state.Work) }

func (r *Run) change(f func(*State)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state)
	r.state.Changed = time.Now().UTC()
	if err := r.save(); err != nil {
		return fmt.Errorf("record run %s: %w", r.state.ID, err)
	}
	return nil
}

func (r *Run) save() error { return write(filepath.Join(r.dir, stateFile), r.state) }

// link points latest at dir.
func (s *Store) link(dir string) error {
	tmp := filepath.Join(s.dir, "."+latestLink+"-"+filepath.Base(dir))
	if err := os.Symlink(filepath.Join(runsDir, filepath.Base(dir)), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(s.dir, latestLink))
}
