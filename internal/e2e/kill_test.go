//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// kills is how often the agent is killed: PILOT_KILLS, or a few.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("PILOT_KILLS")); err == nil {
		return n
	}
	return 15
}

func TestPrivKillAgentEtcd(t *testing.T)      { testKill(t, testcluster.Etcd) }
func TestPrivKillAgentZooKeeper(t *testing.T) { testKill(t, testcluster.ZooKeeper) }
func TestPrivKillAgentRedis(t *testing.T)     { testKill(t, testcluster.Redis) }

// testKill kills agents at random moments while they fork a cluster. Production
// must not notice, and a later agent must clear what they left.
func testKill(t *testing.T, kind testcluster.Kind) {
	ctx := t.Context()
	dir, cluster, load := underLoad(t, kind)
	before, err := cluster.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range kills() {
		killOnce(t, cluster, filepath.Join(dir, "fork"), time.Duration(random.Int64N(int64(150*time.Millisecond))))
	}
	if o := forkOnce(t, cluster, load, filepath.Join(dir, "fork"), before); len(o.Problems) > 0 {
		t.Errorf("a fork after the kills: %v", o.Problems)
	}
	for _, m := range cluster.Members {
		for _, trace := range traces(m.PID) {
			t.Errorf("%s: left behind: %s", m.Name, trace)
		}
	}
	stats := untouched(t, cluster, load, before)
	if err := cluster.Verify(ctx, load.Record); err != nil {
		t.Errorf("production lost writes: %v", err)
	}
	t.Logf("%s: %d agents killed, %d writes acknowledged, slowest %.0f ms", kind, kills(), stats.Acked, stats.MaxLatencyMS)
}

// killOnce starts an agent, kills it, and waits until nothing is traced.
func killOnce(t *testing.T, c *testcluster.Cluster, dir string, after time.Duration) {
	t.Helper()
	req := request{Dir: dir, WorkDir: c.Dir, Health: []string{"sleep", "1"}, Verify: []string{"true"}, Status: []string{"true"}, Load: []string{"true"}, Foreign: []string{"true"}}
	for _, m := range c.Members {
		req.Members = append(req.Members, model.Member{Name: m.Name, PID: m.PID, Args: m.Args, Data: []string{m.Data, m.Log}})
		req.Data = append(req.Data, m.Data, m.Log)
	}
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after) // the moment is what is tested
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Second)
	for _, m := range c.Members {
		if !m.Running() {
			t.Fatalf("%s died of an agent that was killed after %v", m.Name, after)
		}
		for procfs.Tracer(m.PID) != 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s is still held, after an agent was killed after %v", m.Name, after)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
