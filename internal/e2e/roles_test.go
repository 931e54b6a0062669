//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/probe"
	"github.com/pilotexec/pilot/internal/testcluster"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivRoles asks real servers who leads: the same twice, and otherwise when the
// leader is dead.
func TestPrivRoles(t *testing.T) {
	testenv.Privileged(t)
	for kind, lead := range map[testcluster.Kind]string{
		testcluster.Etcd: "leader ", testcluster.Redis: " master of 2 replicas", testcluster.ZooKeeper: " leader", testcluster.NATS: "leader ",
	} {
		t.Run(string(kind), func(t *testing.T) {
			bin, err := testcluster.Build(t.Context(), kind)
			if err != nil {
				t.Fatal(err)
			}
			c, err := testcluster.Start(t.Context(), kind, filepath.Join(publicDir(t), "cluster"), bin, 3)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Stop)
			roles := func() string {
				var addrs []string
				for _, m := range c.Members {
					if kind == testcluster.NATS {
						addrs = append(addrs, m.Monitor)
						continue
					}
					addrs = append(addrs, m.Client)
				}
				lines, err := probe.Ask(t.Context(), string(kind), addrs, "roles")
				if err != nil {
					return err.Error()
				}
				return strings.Join(lines, "\n")
			}
			testenv.WaitFor(t, "a leader that all know", func() bool { return strings.Contains(roles(), lead) && !strings.Contains(roles(), "leader none") })
			before := roles()
			time.Sleep(time.Second) // in which nothing happens
			if again := roles(); again != before {
				t.Errorf("got\n%s\nthen\n%s", before, again)
			}
			t.Logf("%s:\n%s", kind, before)
			leader := c.Members[0] // of Redis
			if kind != testcluster.Redis {
				if leader, err = c.Leader(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Kill(leader.Name); err != nil {
				t.Fatal(err)
			}
			// Others may not serve either before there is another leader.
			if after := roles(); after == before {
				t.Errorf("with %s dead got\n%s", leader.Name, after)
			}
		})
	}
}
