//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/tracee"
)

// sweep clears what agents that died have left where this run is about to work:
// its directory, the members, and the control groups. Without such, it reads a
// file a member and some directories.
func (r *run) sweep() error {
	for _, sub := range []string{"image", "worlds"} {
		if err := os.RemoveAll(filepath.Join(r.dir, sub)); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	var left []int
	for _, m := range r.spec.Members {
		if !m.Down() && tracee.Left(m.PID) {
			left = append(left, m.PID)
		}
	}
	if len(left) > 0 {
		if err := sweepOrigins(left); err != nil {
			return err
		}
	}
	hierarchies, err := cgroup.Find()
	if err == nil {
		_, err = cgroup.Sweep(hierarchies)
	}
	if err != nil {
		return fmt.Errorf("sweep control groups: %w", err)
	}
	return fault.AgentSwept.Hit()
}

func sweepOrigins(pids []int) error {
	tracer := osthread.New()
	defer tracer.Close()
	return tracer.Do(func() error {
		var errs []error
		for _, pid := range pids {
			if _, err := tracee.Sweep(pid); err != nil {
				errs = append(errs, fmt.Errorf("sweep pid %d: %w", pid, err))
			}
		}
		return errors.Join(errs...)
	})
}
