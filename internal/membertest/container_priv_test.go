//go:build linux

package membertest

import (
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/victim"
)

// TestPrivRootlessFirst forks number 1 of a container that an ordinary user made.
func TestPrivRootlessFirst(t *testing.T) {
	for _, kind := range []string{"inside", "member", "threads"} {
		t.Run(kind, func(t *testing.T) {
			contain(t, rootless, true, member{kind, victim.Identity{}}).forkInside(t)
		})
	}
}

// forkInside is fork, by an agent in the namespaces of the container.
func (s *scene) forkInside(t *testing.T) outcome {
	t.Helper()
	o := s.agent(t, request{Doctor: true})
	if refusals := o.refusals(); len(refusals) > 0 || len(o.Problems) > 0 {
		t.Errorf("doctor: %v %v", &model.RefusedError{Refusals: refusals}, o.Problems)
	}
	s.space = osthread.New()
	t.Cleanup(s.space.Close)
	if err := s.space.Do(func() error { return join(s.members[0].PID) }); err != nil {
		t.Fatal(err)
	}
	return s.forkBy(t, request{Take: true})
}
