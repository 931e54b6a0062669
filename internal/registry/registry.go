// Package registry records the runs of this user on this host: what runs now,
// what was found, and what a run that died may have left behind.
//
// It owns one directory. Each run has a directory of its own in it:
//
//	runs/20260504T103000.123Z-k3f9x2/state.json    how far the run is
//	runs/20260504T103000.123Z-k3f9x2/report.json   its report, once it has one
//	runs/20260504T103000.123Z-k3f9x2/fingerprint.json  what it depends on, for pilot apply
//	runs/20260504T103000.123Z-k3f9x2/applied.json  when its action was done for real
//	runs/20260504T103000.123Z-k3f9x2/trial.events.jsonl.gz  what happened in a world, if it was recorded
//	runs/20260504T103000.123Z-k3f9x2/work          what the run needs while it lives
//	latest -> runs/20260504T103000.123Z-k3f9x2     the newest run with a report
//
// Files appear whole or not at all, so several pilots may run at once. Reports
// quote what servers print; the directory is for its owner only.
package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// Keep is how many finished runs are kept.
const Keep = 50

const (
	runsDir    = "runs"
	latestLink = "latest"
	stateFile  = "state.json"
	reportFile = "report.json"
	workDir    = "work"
)

// ErrNotFound is returned for a run that does not exist.
var ErrNotFound = errors.New("no such run")

// A StartTimeFunc returns when process pid was started, in clock ticks since
// boot, and an error when there is no such process. With the pid that
// identifies a process. [StartTime] is the one of Linux.
type StartTimeFunc func(pid int) (uint64, error)

// A Store is an open registry. It may be used by several goroutines.
type Store struct {
	dir       string
	startTime StartTimeFunc
}

// Dir is where the registry lives: $XDG_STATE_HOME/pilot, by default
// ~/.local/state/pilot.
func Dir(getenv func(string) string) (string, error) {
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "pilot"), nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", &model.HintError{Err: errors.New("state directory: HOME is not set"), Hint: "set XDG_STATE_HOME to a directory that pilot may write to"}
	}
	return filepath.Join(home, ".local", "state", "pilot"), nil
}

// Open opens the registry in dir, which it makes when needed. It fails when dir
// cannot be written to.
func Open(dir string, startTime StartTimeFunc) (*Store, error) {
	s := &Store{dir: dir, startTime: startTime}
	if err := s.check(); err != nil {
		return nil, &model.HintError{Err: fmt.Errorf("state directory %s: %w", dir, cause(err)), Hint: "set XDG_STATE_HOME to a directory that pilot may write to"}
	}
	return s, nil
}

// check proves that files can be made in s.
func (s *Store) check() error {
	if err := os.MkdirAll(s.runs(), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".write-*")
	if err != nil {
		return err
	}
	_, werr := f.WriteString("pilot\n")
	return errors.Join(werr, f.Close(), os.Remove(f.Name()))
}

func (s *Store) runs() string { return filepath.Join(s.dir, runsDir) }

// cause is err without the path that our message names already.
func cause(err error) error {
	var perr *os.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

// dirName is the name of the directory of run id, begun at t.
func dirName(t time.Time, id string) string {
	return t.UTC().Format("20060102T150405.000Z") + "-" + id
}
