//go:build linux

package membertest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrivMissingCapabilities runs doctor as root that lacks something.
func TestPrivMissingCapabilities(t *testing.T) {
	s := stage(t, member{"member", ordinary()})
	o := s.agent(t, request{Doctor: true, Drop: []int{unix.CAP_NET_ADMIN, unix.CAP_SETFCAP, unix.CAP_SYS_TIME}})
	var got []string
	for _, r := range o.refusals() {
		got = append(got, r.Kind)
	}
	if len(got) != 2 || got[0] != "CAP_NET_ADMIN" || got[1] != "CAP_SETFCAP" {
		t.Errorf("refused %q %v", got, o.Problems)
	}
	if o = s.agent(t, request{Doctor: true}); len(o.refusals()) > 0 || len(o.Diagnoses) != 1 {
		t.Errorf("with all: %+v", o.Diagnoses)
	}
	s.wantAlive(t)
}
