package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestCause(t *testing.T) {
	w := model.World{Action: &model.CommandResult{PID: 900}, Processes: []model.Process{
		{PID: 11, Phantom: true},
		{PID: 20, Parent: 900},                       // the action itself is not listed
		{PID: 21, Parent: 20},                        // its grandchild
		{PID: 22, Parent: 11},                        // a phantom's child
		{PID: 23, Parent: 24}, {PID: 24, Parent: 23}, // a circle, from a reused pid
		{PID: 25, Parent: 1},                           // an orphan
		{PID: 26, Cause: model.CauseCheck},             // as observed
		{PID: 27, Parent: 26},                          // and its child
		{PID: 28, Parent: 1, Cause: model.CauseAction}, // an orphan whose cause was observed
	}}
	want := map[int]string{11: "", 20: "action", 21: "action", 22: "phantom", 23: "", 24: "", 25: "", 26: "check", 27: "check", 28: "action"}
	for _, p := range w.Processes {
		if got := cause(w, p); got != want[p.PID] {
			t.Errorf("pid %d: got %q, want %q", p.PID, got, want[p.PID])
		}
	}
}

func TestServer(t *testing.T) {
	spec := model.Spec{Members: []model.Member{
		{Exe: "/usr/bin/etcd", Args: []string{"etcd"}},
		{Exe: "/usr/lib/jvm/bin/java", Args: []string{"java", "QuorumPeerMain"}},
	}}
	for _, tt := range []struct {
		args, member string
		want         bool
	}{
		{"/opt/etcd --new", "", true},
		{"etcdctl get", "", false},
		{"rm -rf /var/lib/etcd", "etcd1", false},
		{"sh -c etcd", "etcd1", false},
		{"java QuorumPeerMain", "", true},
		{"java ZooKeeperMain", "", false},
		{"java QuorumPeerMain zoo3.cfg", "zk3", true},
		{"", "etcd1", true},
		{"", "", false},
	} {
		if got := server(spec, model.Process{Args: strings.Fields(tt.args), Member: tt.member}); got != tt.want {
			t.Errorf("%+v: got %t", tt, got)
		}
	}
}

func TestShortForms(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{name(model.Process{PID: 4}), "pid 4"},
		{name(model.Process{Args: []string{"/bin/x"}}), "x"},
		{commandLine([]string{strings.Repeat("é", 200)}), strings.Repeat("é", 120) + "…"},
		{how(nil), "still ran"},
		{round(12345 * time.Millisecond).String(), "12.3s"},
		{round(1234567).String(), "1ms"},
		{round(1234).String(), "1µs"},
		{bytes(1023), "1023 B"},
		{bytes(5 << 40), "5.0 TiB"},
		{outcome(model.Probe{}, model.CommandResult{Exit: signal("SIGKILL", 0)}), "fails (SIGKILL)"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
