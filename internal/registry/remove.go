package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/model"
)

// Remove erases the run called name, as [Store.Find] takes it, and returns its
// id. It refuses one that goes on, and one whose directory holds a mount: what
// is mounted there may be production's.
func (s *Store) Remove(name string) (string, error) {
	e, err := s.Find(name)
	if err != nil {
		return "", err
	}
	return e.ID, s.remove(e)
}

func (s *Store) remove(e Entry) error {
	if e.Running() {
		return &model.HintError{Err: fmt.Errorf("remove run %s: it goes on, as pid %d", e.ID, e.PID), Hint: "stop it with Ctrl-C, or kill -INT its process"}
	}
	mounts, err := mountsBelow(e.Dir)
	if err != nil {
		return fmt.Errorf("remove run %s: %w", e.ID, err)
	}
	if len(mounts) > 0 {
		return &model.HintError{Err: fmt.Errorf("remove run %s: %s is still mounted", e.ID, mounts[0]), Hint: "pilot gc takes down what dead runs left behind"}
	}
	if target, err := os.Readlink(filepath.Join(s.dir, latestLink)); err == nil && filepath.Base(target) == filepath.Base(e.Dir) {
		defer s.relink()
	}
	if err := os.RemoveAll(e.Dir); err != nil {
		return fmt.Errorf("remove run %s: %w", e.ID, err)
	}
	return nil
}

// relink points latest at the newest run that has a report, if there is one.
func (s *Store) relink() {
	entries, _ := s.List()
	for _, e := range entries {
		if e.Phase == Finished && s.link(e.Dir) == nil {
			return
		}
	}
	_ = os.Remove(filepath.Join(s.dir, latestLink))
}

// prune erases all but the newest keep runs that ended; those of a series count as
// one. A run that is abandoned or left something in its work directory stays for gc.
func (s *Store) prune(keep int) error {
	entries, err := s.List()
	if err != nil {
		return err
	}
	var errs []error
	ended := 0
	series := map[string]bool{}
	for _, e := range entries {
		if !e.ended() {
			continue
		}
		if e.Part == nil || !series[e.Part.Series] {
			ended++
		}
		if e.Part != nil {
			series[e.Part.Series] = true
		}
		if ended <= keep || e.Leftovers() {
			continue
		}
		errs = append(errs, s.remove(e))
	}
	return errors.Join(errs...)
}

// Leftovers reports whether there is something in the work directory of e.
func (e Entry) Leftovers() bool {
	_, err := os.Lstat(e.Work)
	return e.Work != "" && !errors.Is(err, fs.ErrNotExist)
}
