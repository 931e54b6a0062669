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
	for _, kind := range []string{
		"inside", "member", "threads", "timers", "pending", "locks", "unixpair", "unixlisten", "eventfd", "signalfd",
		"shmfile", "shmanon", "deleted", "pipe", "epoll",
	} {
		t.Run(kind, func(t *testing.T) {
			contain(t, rootless, true, member{kind, victim.Identity{}}).forkInside(t)
		})
	}
}

// TestPrivRootlessOther forks others than number 1, two of them connected.
func TestPrivRootlessOther(t *testing.T) {
	for _, kinds := range [][]string{
		{"inside"}, {"threads"}, {"timers"}, {"pending"}, {"locks"}, {"unixpair"},
		{"tcp-server", "tcp-client"}, {"unix-server", "unix-client"}, {"inside", "member", "inside"},
	} {
		t.Run(kinds[0], func(t *testing.T) {
			var members []member
			for _, kind := range kinds {
				members = append(members, member{kind, victim.Identity{}})
			}
			contain(t, rootless, false, members...).forkInside(t)
		})
	}
}

// TestPrivRootmadeContainer forks members of a container that has process numbers
// of its own, and the host's users.
func TestPrivRootmadeContainer(t *testing.T) {
	for _, first := range []bool{true, false} {
		contain(t, rootmade, first, member{"inside", victim.Identity{}}).forkInside(t)
		contain(t, rootmade, first, member{"member", ordinary()}).forkInside(t)
	}
	contain(t, rootmade, false, member{"tcp-server", victim.Identity{}}, member{"tcp-client", ordinary()}).forkInside(t)
}

// TestPrivMappedContainer forks members of several users of a container.
func TestPrivMappedContainer(t *testing.T) {
	contain(t, mapped, true, member{"inside", victim.Identity{}}).forkInside(t)
	contain(t, mapped, true, member{"member", ordinary()}).forkInside(t)
	contain(t, mapped, false, member{"tcp-server", victim.Identity{}}, member{"tcp-client", ordinary()}, member{"member", ordinary()}).forkInside(t)
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
