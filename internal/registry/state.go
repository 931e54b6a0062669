package registry

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// Phases of a run. Between Begun and the end the engine names its own.
const (
	Begun    = "begun"
	Finished = "finished" // there is a report
	Failed   = "failed"   // pilot itself failed, nothing is known
)

// Abandoned is the status of a run whose process is gone before its end.
const Abandoned = "abandoned"

// A State is how far a run is.
type State struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	PID     int       `json:"pid"`
	Start   uint64    `json:"pid_start_time"`
	Phase   string    `json:"phase"`
	Started time.Time `json:"started"`
	Changed time.Time `json:"changed"`
	Action  []string  `json:"action"`
	Members []string  `json:"members"`
	// Work is the directory that holds what the run needs while it lives.
	Work string `json:"work"`
	// Verdict is set when the run is finished, Error when it failed.
	Verdict model.Status `json:"verdict,omitempty"`
	Error   string       `json:"error,omitempty"`
	// Part is set for a finished run of a series.
	Part *model.Part `json:"part,omitempty"`
}

// ended reports whether the run came to its own end.
func (s State) ended() bool { return s.Phase == Finished || s.Phase == Failed }

// An Entry is a recorded run.
type Entry struct {
	State
	// Dir is the run's directory.
	Dir string `json:"dir"`
	// Status is the verdict of a finished run, [Failed], [Abandoned], or the
	// phase of a run that goes on.
	Status string `json:"status"`
}

// Running reports whether the run's process lives.
func (e Entry) Running() bool { return !e.ended() && e.Status != Abandoned }

// entry reads the run in dir.
func (s *Store) entry(dir string) (Entry, error) {
	e := Entry{Dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(text, &e.State); err != nil {
		return e, fmt.Errorf("read %s: %w", filepath.Join(dir, stateFile), err)
	}
	// What is there is erased, so it is not taken from a text.
	e.Work = filepath.Join(dir, workDir)
	switch {
	case e.Phase == Finished:
		e.Status = string(e.Verdict)
	case e.ended() || s.lives(e.State):
		e.Status = e.Phase
	default:
		e.Status = Abandoned
	}
	return e, nil
}

// lives reports whether the process of st is the one that began the run.
func (s *Store) lives(st State) bool {
	start, err := s.startTime(st.PID)
	return err == nil && start == st.Start
}

// write replaces path by v at once.
func write(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	if _, err := f.Write(append(text, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
