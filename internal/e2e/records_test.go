//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

func TestPrivRecordsEtcd(t *testing.T)      { testRecords(t, testcluster.Etcd) }
func TestPrivRecordsNATS(t *testing.T)      { testRecords(t, testcluster.NATS) }
func TestPrivRecordsZooKeeper(t *testing.T) { testRecords(t, testcluster.ZooKeeper) }
func TestPrivRecordsRedis(t *testing.T)     { testRecords(t, testcluster.Redis) }

// testRecords pilots a recovery that starts all members again and loses nothing,
// and one after which they are all well, and empty. Only the second may be called
// a loss. The checks are those of the preset.
func testRecords(t *testing.T, kind testcluster.Kind) {
	dir, cluster, load := underLoad(t, kind)
	for acked := 0; acked < 300; {
		n, err := load.Acked()
		if err != nil {
			t.Fatal(err)
		}
		acked = n
	}
	if _, err := load.Stop(); err != nil {
		t.Fatal(err)
	}
	keep := pilotAction(t, dir, cluster.Members[0].Env, string(kind), cluster.PIDs(), restart(cluster, nil))
	for _, f := range keep.Verdict.Findings {
		if strings.HasPrefix(f.Rule, "records-") || strings.HasPrefix(f.Rule, "data-") || strings.HasPrefix(f.Rule, "check-") {
			t.Errorf("false alarm: %+v", f)
		}
	}
	if keep.Verdict.Status != model.Pass {
		t.Errorf("a good recovery: %s: %s\n%+v", keep.Verdict.Status, keep.Verdict.Reason, keep.Verdict.Findings)
	}
	lose := pilotAction(t, dir, cluster.Members[0].Env, string(kind), cluster.PIDs(), restart(cluster, wiped(cluster)))
	seen := map[string]bool{}
	for _, f := range lose.Verdict.Findings {
		seen[f.Rule] = seen[f.Rule] || f.Severity == model.Error
	}
	// By what the files hold, and by what the servers say.
	if !seen["records-lost"] || !seen["data-lost"] || lose.Verdict.Status != model.Fail {
		t.Errorf("the loss was not seen: %s: %s\n%+v\n%+v", lose.Verdict.Status, lose.Verdict.Reason, lose.Verdict.Findings, lose.Trial.Stores)
	}
	for _, s := range lose.Trial.Stores {
		t.Logf("%s %s %s: %+v", s.System, s.Name, s.Member, s.Figures)
	}
	meant := 0
	for _, f := range lose.Trial.Files {
		if f.Meaning != "" {
			meant++
		}
	}
	if meant == 0 {
		t.Error("no change of a file was given a meaning")
	}
}

// wiped are the members that lose their disks in the bad recovery: as few as the
// system does not notice.
func wiped(c *testcluster.Cluster) []*testcluster.Member {
	switch c.Kind {
	case testcluster.Etcd, testcluster.NATS:
		return c.Members
	case testcluster.Redis:
		return c.Members[:1] // the master: its replica takes over that there is nothing
	}
	return c.Members[:len(c.Members)-1] // two of three agree on nothing
}

// restart is a script that ends all members, empties the disks of some, starts
// those first and then the others, and waits until all is well.
func restart(c *testcluster.Cluster, wipe []*testcluster.Member) string {
	var s strings.Builder
	empty := map[*testcluster.Member]bool{}
	for _, m := range wipe {
		empty[m] = true
	}
	for _, m := range c.Members {
		fmt.Fprintf(&s, "kill -9 %d\n", m.PID)
	}
	for _, m := range c.Members { // that nobody collects them does not matter
		fmt.Fprintf(&s, "while grep -qs '^State:.[^ZX]' /proc/%d/status; do sleep 0.1; done\n", m.PID)
	}
	for _, m := range wipe {
		fmt.Fprintf(&s, "find '%s' -mindepth 1 ! -name myid -delete\n", m.Data)
	}
	for _, first := range []bool{true, false} {
		for _, m := range c.Members {
			if empty[m] == first {
				// Again, as a supervisor does: the address may not be free at once.
				fmt.Fprintf(&s, "setsid sh -c 'for i in 1 2 3 4 5; do \"$@\"; sleep 1; done' - '%s' </dev/null >>'%s' 2>&1 &\n", strings.Join(m.Args, "' '"), m.Log)
			}
		}
		if first && len(wipe) > 0 && len(wipe) < len(c.Members) {
			s.WriteString("sleep 4\n") // to agree on nothing
		}
	}
	health := strings.Join(c.HealthCommand(), " ")
	fmt.Fprintf(&s, "for i in $(seq 60); do %s && break; sleep 0.5; done\nsleep 2\n", health)
	return s.String()
}

// pilotAction runs pilot with a script as the action, and the checks of the preset.
func pilotAction(t *testing.T, dir string, env []string, preset string, pids []int, script string) (r model.Report) {
	t.Helper()
	path := filepath.Join(dir, "action.sh")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	members := strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ","), "[]")
	_, stdout, stderr := runPilot(t, pilotBinary(t), dir, env, "run", "-q", "--json", "--settle", "2s", "--patience", "0s", "--max-pause", "1s", "--timeout", "150s",
		"--preset", preset, "--pid", members, "--", "sh", path)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("pilot said %q (%v)\n%s", stdout, err, stderr)
	}
	if r.Trial.Action == nil || !r.Trial.Action.OK() {
		t.Errorf("the action: %+v", r.Trial.Action)
	}
	return r
}
