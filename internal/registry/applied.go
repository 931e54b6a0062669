package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
)

// Files of pilot apply, in the run's directory.
const (
	fingerprintFile = "fingerprint.json" // mode 0600: it has the environment of the action
	appliedFile     = "applied.json"
)

// An Application is one time that the action of a run was done on production.
type Application struct {
	Time time.Time `json:"time"`
	UID  int       `json:"uid"`
	User string    `json:"user,omitempty"`
	// PID is pilot's process.
	PID int `json:"pid"`
	// Exit is nil while the action runs, and for ever when pilot died meanwhile.
	Exit *model.Exit `json:"exit,omitempty"`
	// Err says why it could not be started.
	Err string `json:"error,omitempty"`
	// Took is how long the action ran.
	Took time.Duration `json:"duration_ns,omitempty"`
	// AsPredicted is nil as long as that is not known.
	AsPredicted *bool `json:"as_predicted,omitempty"`
}

// Remember stores the fingerprint of what the run depends on.
func (r *Run) Remember(f drift.Fingerprint) error {
	f.Run = r.ID()
	if err := write(filepath.Join(r.dir, fingerprintFile), f); err != nil {
		return fmt.Errorf("store fingerprint: %w", err)
	}
	return nil
}

// Fingerprint reads what the run depended on when it began. Only the user who ran
// it can have written it, or root.
func (e Entry) Fingerprint() (f drift.Fingerprint, err error) {
	file, err := os.Open(filepath.Join(e.Dir, fingerprintFile))
	if err != nil {
		return f, err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return f, err
	}
	if err := json.NewDecoder(file).Decode(&f); err != nil {
		return f, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok || fi.Mode().Perm()&0o077 != 0:
		return f, fmt.Errorf("its mode is %v: others may have written it", fi.Mode())
	case int(st.Uid) != f.UID && st.Uid != 0:
		return f, fmt.Errorf("it belongs to user %d, and says that user %d ran it", st.Uid, f.UID)
	case f.Version != drift.Version:
		return f, fmt.Errorf("it has version %d, this pilot reads %d", f.Version, drift.Version)
	case f.Run != e.ID:
		return f, fmt.Errorf("it is that of run %q", f.Run)
	}
	return f, nil
}

// Applied lists when the run's action was done on production, oldest first.
func (e Entry) Applied() (list []Application, err error) {
	text, err := os.ReadFile(filepath.Join(e.Dir, appliedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	return list, err
}

// SaveApplied replaces the list of [Entry.Applied].
func (e Entry) SaveApplied(list []Application) error {
	if err := write(filepath.Join(e.Dir, appliedFile), list); err != nil {
		return fmt.Errorf("record that run %s is applied: %w", e.ID, err)
	}
	return nil
}

// ErrApplying is returned for a run that another pilot applies just now.
var ErrApplying = errors.New("another pilot applies it")

// LockApply keeps others from applying the run until the returned function is
// called, or this process ends, see flock(2).
func (e Entry) LockApply() (unlock func(), err error) {
	dir, err := os.Open(e.Dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = dir.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrApplying
		}
		return nil, fmt.Errorf("run %s: %w", e.ID, err)
	}
	return func() { _ = dir.Close() }, nil
}
