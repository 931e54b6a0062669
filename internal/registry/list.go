package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// List returns all runs, newest first. A directory whose state cannot be read
// is that of a run that died while it began: it shows as abandoned.
func (s *Store) List() ([]Entry, error) {
	dirs, err := os.ReadDir(s.runs())
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	entries := []Entry{}
	for _, d := range slices.Backward(dirs) { // names start with the time
		if !d.IsDir() {
			continue
		}
		dir := filepath.Join(s.runs(), d.Name())
		e, err := s.entry(dir)
		if err != nil {
			if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
				continue // removed by another pilot just now
			}
			e = Entry{Dir: dir, Status: Abandoned}
			_, e.ID, _ = strings.Cut(d.Name(), "-")
			e.Work = filepath.Join(dir, workDir)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Find returns the run called name: an id, the start of one, the name of its
// directory, or "latest".
func (s *Store) Find(name string) (Entry, error) {
	if name == latestLink {
		return s.latest()
	}
	entries, err := s.List()
	if err != nil {
		return Entry{}, err
	}
	var found []Entry
	for _, e := range entries {
		if e.ID == name || filepath.Base(e.Dir) == name {
			return e, nil
		}
		if name != "" && strings.HasPrefix(e.ID, name) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return Entry{}, &model.HintError{Err: fmt.Errorf("%w: %s", ErrNotFound, name), Hint: "pilot ps lists the runs"}
	case 1:
		return found[0], nil
	default:
		ids := make([]string, len(found))
		for i, e := range found {
			ids[i] = e.ID
		}
		return Entry{}, fmt.Errorf("run %s could be any of %s", name, strings.Join(ids, ", "))
	}
}

func (s *Store) latest() (Entry, error) {
	target, err := os.Readlink(filepath.Join(s.dir, latestLink))
	if err == nil {
		var e Entry
		if e, err = s.entry(filepath.Join(s.runs(), filepath.Base(target))); err == nil {
			return e, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, &model.HintError{Err: fmt.Errorf("%w: none has a report yet", ErrNotFound), Hint: "pilot ps lists the runs"}
	}
	return Entry{}, fmt.Errorf("find latest run: %w", err)
}

// Load returns the report of the run called name, as [Store.Find] takes it.
func (s *Store) Load(name string) (*model.Report, error) {
	e, err := s.Find(name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(e.Dir, reportFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.Error != "":
		return nil, fmt.Errorf("run %s has no report, it failed: %s", e.ID, e.Error)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("run %s has no report, it is %s", e.ID, e.Status)
	case err != nil:
		return nil, fmt.Errorf("load run %s: %w", e.ID, err)
	}
	var r model.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("load run %s: %w", e.ID, err)
	}
	if r.Version != model.Version {
		return nil, fmt.Errorf("load run %s: its report has version %d, this pilot reads %d", e.ID, r.Version, model.Version)
	}
	return &r, nil
}
