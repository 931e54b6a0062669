//go:build linux

package testcluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// need skips t unless servers of the kind can be built and run here. With
// PILOT_SYSTEMS=1 in the environment it does not skip: green must mean that
// something ran.
func need(t *testing.T, kind Kind) {
	t.Helper()
	if os.Getenv("PILOT_SYSTEMS") == "1" {
		return
	}
	if testing.Short() {
		t.Skip("-short: starts real servers")
	}
	tools := map[Kind][]string{
		Etcd:      {"go"},
		NATS:      {"go"},
		ZooKeeper: {"go", "java", "mvn"},
		Redis:     {"go", "apt-get", "dpkg"},
		Kafka:     {"go", "java", "mvn"},
	}
	if _, err := exec.LookPath("redis-server"); err == nil {
		tools[Redis] = []string{"go"}
	}
	if os.Geteuid() != 0 {
		t.Skip("not root; PILOT_SYSTEMS=1 runs it all the same")
	}
	for _, tool := range tools[kind] {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v; PILOT_SYSTEMS=1 runs it all the same", err)
		}
	}
}

func TestCluster(t *testing.T) {
	for _, kind := range Kinds {
		t.Run(string(kind), func(t *testing.T) {
			need(t, kind)
			ctx := t.Context()
			bin, err := Build(ctx, kind)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			c, err := Start(ctx, kind, t.TempDir(), bin, kind.DefaultSize())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			t.Logf("healthy after %v", time.Since(start).Round(time.Millisecond))
			underLoad(ctx, t, c)
			crash(ctx, t, c)
			pids := c.PIDs()
			c.Stop()
			for _, pid := range pids {
				if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); err == nil {
					t.Errorf("process %d is still there", pid)
				}
			}
		})
	}
}

// underLoad checks that a healthy cluster loses nothing and has no election.
func underLoad(ctx context.Context, t *testing.T, c *Cluster) {
	t.Helper()
	before := mustStatus(ctx, t, c)
	load, err := c.StartLoad(ctx, LoadConfig{})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	early := filepath.Join(c.Dir, "early.record")
	cut, err := load.Cut(early)
	if err != nil {
		t.Fatal(err)
	}
	soFar, err := load.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if soFar.Acked < cut || soFar.RecentMaxLatencyMS == 0 {
		t.Errorf("load so far: %+v, want at least %d writes", soFar, cut)
	}
	stats, err := load.Stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("load: %+v", stats)
	if stats.Acked < 100 || stats.Reads == 0 || stats.Errors != 0 || stats.Losses != 0 {
		t.Errorf("load: %+v", stats)
	}
	if cut == 0 || cut > stats.Acked {
		t.Errorf("cut has %d of %d writes", cut, stats.Acked)
	}
	for _, record := range []string{early, load.Record} {
		if err := c.Verify(ctx, record); err != nil {
			t.Errorf("verify %s: %v", record, err)
		}
	}
	after := mustStatus(ctx, t, c)
	if after.Keys != stats.Acked || after.Last == 0 {
		t.Errorf("%d entries up to %d, want %d", after.Keys, after.Last, stats.Acked)
	}
	if c.Kind != NATS && c.Kind != Kafka && after.Election != before.Election { // these: the load made the stream, or topic
		t.Errorf("election %q, before the load %q", after.Election, before.Election)
	}
	lie := filepath.Join(c.Dir, "lie.record")
	if err := os.WriteFile(lie, []byte("0 999999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(ctx, lie); err == nil || !strings.Contains(err.Error(), "1 of 1 acknowledged writes are missing") {
		t.Errorf("verify of a write that never was: %v", err)
	}
}

// crash kills a member that does not lead, and restarts it.
func crash(ctx context.Context, t *testing.T, c *Cluster) {
	t.Helper()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(c.Members, func(m *Member) bool { return m != leader })
	victim := c.Members[i]
	if err := c.Kill(victim.Name); err != nil {
		t.Fatal(err)
	}
	if victim.Running() {
		t.Error("the killed member runs")
	}
	if err := c.Health(ctx); err == nil || !strings.Contains(err.Error(), victim.Client) {
		t.Errorf("health does not name the killed member: %v", err)
	}
	if again, err := c.Leader(ctx); err != nil || again != leader {
		t.Errorf("leader after the kill: %v, %v", again, err)
	}
	if err := c.Restart(victim.Name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if err := c.WaitHealthy(ctx); err != nil {
		t.Errorf("after the restart: %v\n%s", err, c.logTails())
	}
}

func mustStatus(ctx context.Context, t *testing.T, c *Cluster) Status {
	t.Helper()
	st, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !st.Healthy {
		t.Errorf("not healthy: %+v", st)
	}
	t.Logf("status: election %q, size %d, keys %d", st.Election, st.Size, st.Keys)
	return st
}
