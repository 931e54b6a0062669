//go:build linux

package membertest

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/filter"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// TestPrivFiltered forks what a container engine starts: the filter forbids
// what the making of a phantom needs, and acts in the phantom all the same.
func TestPrivFiltered(t *testing.T) {
	id := ordinary()
	id.NoNewPrivs, id.Filter = true, docker()
	s := stage(t, member{"member", id})
	o := s.fork(t)
	if len(o.Diagnoses) != 1 || len(o.refusals()) > 0 {
		t.Errorf("doctor says %+v", o.Diagnoses)
	}
}

func TestPrivFilteredRoot(t *testing.T) {
	stage(t, member{"member", victim.Identity{Filter: docker(), Bounding: []int{unix.CAP_SYS_ADMIN}}}).fork(t)
}

func TestPrivFilteredConnections(t *testing.T) {
	id := ordinary()
	id.NoNewPrivs, id.Filter = true, docker()
	stage(t, member{"tcp-server", id}, member{"tcp-client", ordinary()}, member{"epoll", id}, member{"pipe", id}).fork(t)
}

// TestPrivDeadlyFilter holds what would kill production if pilot went on. It is
// refused by doctor, and by the snapshot itself.
func TestPrivDeadlyFilter(t *testing.T) {
	for _, otherwise := range []filter.Action{filter.KillProcess, filter.KillThread, filter.Trap, filter.Errno | 1} {
		t.Run(strings.ReplaceAll(otherwise.String(), " ", "_"), func(t *testing.T) {
			id := ordinary()
			allowed := append(without(dockerAllowed, unix.SYS_GETITIMER, unix.SYS_WAIT4), unix.SYS_USTAT)
			id.NoNewPrivs, id.Filter = true, containerFilter(allowed, otherwise)
			s := stage(t, member{"member", id})
			o := s.agent(t, request{Doctor: true})
			got := o.refusals()
			if len(got) != 1 || len(o.Problems) > 0 || got[0].Kind != "seccomp filter" {
				t.Fatalf("doctor says %+v %v", got, o.Problems)
			}
			for _, want := range []string{"getitimer: a filter " + otherwise.String(), "wait4: "} {
				if !strings.Contains(got[0].Why, want) {
					t.Errorf("%q does not tell of %q", got[0].Why, want)
				}
			}
			if strings.Contains(got[0].Why, "mmap") {
				t.Errorf("%q tells of too much", got[0].Why)
			}
			o = s.agent(t, request{Take: true})
			if len(o.Problems) != 1 || !strings.Contains(o.Problems[0], "getitimer") {
				t.Errorf("snapshot: %q", o.Problems)
			}
			s.wantAlive(t)
		})
	}
}
