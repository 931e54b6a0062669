//go:build linux

package membertest

import (
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// ordinary is a user without any capability.
func ordinary() victim.Identity {
	return victim.Identity{UID: 4242, GID: 4243, Groups: []int{4244, 4245}, NoCaps: true}
}

func TestPrivOrdinaryUser(t *testing.T) {
	stage(t, member{"member", ordinary()}).fork(t)
}

// TestPrivOrdinaryKinds forks objects whose making needs rights, or that are
// looked up by who made them.
func TestPrivOrdinaryKinds(t *testing.T) {
	for _, kind := range []string{"eventfd", "shmfile", "shmanon", "unixlisten", "unixpair", "locks", "deleted", "pending", "timers", "fifo", "memfd"} {
		t.Run(kind, func(t *testing.T) { stage(t, member{kind, ordinary()}).fork(t) })
	}
}

func TestPrivOrdinaryConnections(t *testing.T) {
	stage(t, member{"tcp-server", ordinary()}, member{"tcp-client", ordinary()}).fork(t)
}

// TestPrivRootWithoutCapabilities has the owner's number, but none of its rights.
func TestPrivRootWithoutCapabilities(t *testing.T) {
	stage(t, member{"member", victim.Identity{NoCaps: true, Securebits: 1 << 0 /* SECBIT_NOROOT */}}).fork(t)
}

// TestPrivSomeCapabilities has sets that all differ.
func TestPrivSomeCapabilities(t *testing.T) {
	id := ordinary()
	id.Ambient = []int{unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_NICE}
	id.Inherited = []int{unix.CAP_NET_RAW}
	id.Bounding = []int{unix.CAP_NET_RAW, unix.CAP_SYS_PTRACE, unix.CAP_SETFCAP}
	id.Securebits = 1<<2 | 1<<3 | 1<<6 // no setuid fixup, locked; no ambient raise
	id.NoNewPrivs = true
	stage(t, member{"member", id}).fork(t)
}

// TestPrivHidden forks a process that is not dumpable.
func TestPrivHidden(t *testing.T) {
	id := ordinary()
	id.Hidden = true
	stage(t, member{"member", id}).fork(t)
}

func TestPrivRootAndUser(t *testing.T) {
	stage(t, member{"tcp-server", victim.Identity{}}, member{"tcp-client", ordinary()}, member{"member", ordinary()}).fork(t)
}

// TestPrivTwoUsers cannot be: a network namespace has one owner.
func TestPrivTwoUsers(t *testing.T) {
	other := ordinary()
	other.UID = 4343
	s := stage(t, member{"member", ordinary()}, member{"member", other})
	o := s.agent(t, request{Doctor: true})
	if got := o.refusals(); len(got) != 1 || got[0].Kind != "uid 4343" || !strings.Contains(got[0].Why, "one owner") {
		t.Errorf("refused: %+v %v", got, o.Problems)
	}
	o = s.agent(t, request{Take: true})
	if len(o.Problems) != 1 || !strings.Contains(o.Problems[0], "one owner") {
		t.Errorf("spawned: %q", o.Problems)
	}
	s.wantAlive(t)
}
