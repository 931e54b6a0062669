//go:build linux

package agent

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// FuzzName wants a member to have a name, whatever its arguments are.
func FuzzName(f *testing.F) {
	f.Add("etcd\x00--name\x00m1\x00--data-dir=/srv/m1")
	f.Add("nats-server\x00--server_name=n1")
	f.Add("etcd\x00--name=")
	f.Add("etcd\x00--name")
	f.Add("etcd\x00--name\x00")
	f.Fuzz(func(t *testing.T, cmdline string) {
		m := model.Member{PID: os.Getpid(), Args: strings.Split(cmdline, "\x00")}
		name := nameOf(&m)
		if name == "" {
			t.Errorf("no name for %q", m.Args)
		}
		if !strings.Contains(cmdline, name) && !strings.HasSuffix(name, fmt.Sprintf("-%d", m.PID)) {
			t.Errorf("%q is called %q", m.Args, name)
		}
	})
}
