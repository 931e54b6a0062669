//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// fence lets a phantom come to no file by another mount than the world's, and
// to its log. It is a second line: what leads out by a magic link of /proc has
// been exchanged already. Commands have none, or they could not look into the
// phantoms by /proc as recoveries do: a domain of Landlock sees only what is in it.
func (w *World) fence(ph *phantom) error {
	ruleset, err := w.landlock()
	if errors.Is(err, sys.ErrNotSupported) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ruleset.Close()
	return w.tracer.Do(func() error {
		return ph.post.lend(ruleset, func(number uint64) error {
			if err := ph.lead.Do(tracee.Sys(unix.SYS_LANDLOCK_RESTRICT_SELF, number, 0)); err != nil {
				return fmt.Errorf("restrict by landlock: %w", err)
			}
			return nil
		})
	})
}

// landlock makes the ruleset of the world.
func (w *World) landlock() (ruleset sys.FD, err error) {
	output, err := sys.OpenDir(filepath.Join(w.Dir, "output"))
	if err != nil {
		return -1, err
	}
	defer output.Close()
	err = w.inside.Do(func() error {
		root, err := sys.OpenDir("/")
		if err != nil {
			return err
		}
		defer root.Close()
		ruleset, err = sys.LandlockRuleset(root, output)
		return err
	})
	return ruleset, err
}
