//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

func TestPrivRunEtcd(t *testing.T)      { testRun(t, testcluster.Etcd) }
func TestPrivRunNATS(t *testing.T)      { testRun(t, testcluster.NATS) }
func TestPrivRunZooKeeper(t *testing.T) { testRun(t, testcluster.ZooKeeper) }
func TestPrivRunRedis(t *testing.T)     { testRun(t, testcluster.Redis) }

// testRun pilots an action that does nothing, as a user would: with pids only.
// The data directories are found, the check passes, and nothing is alarming.
// Then it pilots one that kills a member, which must not pass.
func testRun(t *testing.T, kind testcluster.Kind) {
	ctx := t.Context()
	dir, cluster, load := underLoad(t, kind)
	binary := pilotBinary(t)
	var pids []string
	for _, pid := range cluster.PIDs() {
		pids = append(pids, strconv.Itoa(pid))
	}
	health := strings.Join(cluster.HealthCommand(), " ")
	run := func(want int, action ...string) model.Report {
		t.Helper()
		args := append([]string{"run", "-q", "--json", "--settle", "1s", "--pid", strings.Join(pids, ","), "--check", health, "--"}, action...)
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		var r model.Report
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
			t.Fatalf("pilot said %q (%v)\n%s", &stdout, err, &stderr)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("exit status %d, want %d: %s\n%+v", got, want, r.Verdict.Reason, r.Verdict.Findings)
		}
		if len(r.Leftovers) > 0 {
			t.Errorf("left behind: %v", r.Leftovers)
		}
		return r
	}
	before := namespaces()
	r := run(0, "true")
	for i, m := range r.Spec.Members {
		if want := cluster.Members[i].Data; len(m.Data) == 0 || m.Data[0] != want {
			t.Errorf("data of %s: found %q, want %q", m.Name, m.Data, want)
		}
	}
	for _, f := range r.Verdict.Findings {
		t.Errorf("false alarm: %+v", f)
	}
	// In the world the members have the numbers they have outside.
	r = run(2, "kill", "-9", pids[len(pids)-1])
	if !strings.Contains(r.Verdict.Reason, "SIGKILL") {
		t.Errorf("reason %q does not tell of the killed member", r.Verdict.Reason)
	}
	for ns, pid := range namespaces() {
		if _, old := before[ns]; !old {
			t.Errorf("left behind: %s of pid %d", ns, pid)
		}
	}
	stats, err := load.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if stats.Errors > 0 || stats.Losses > 0 {
		t.Errorf("production's clients saw %d errors (first: %s) and %d lost sessions", stats.Errors, stats.FirstError, stats.Losses)
	}
}

// namespaces lists all that processes are in, with one of the processes.
func namespaces() map[string]int {
	found := map[string]int{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, link := range links {
		if ns, err := os.Readlink(link); err == nil {
			found[ns], _ = strconv.Atoi(strings.Split(link, "/")[2])
		}
	}
	return found
}
