//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/series"
	"github.com/pilotexec/pilot/internal/testcluster"
)

func TestPrivSeriesEtcd(t *testing.T)  { testSeries(t, testcluster.Etcd) }
func TestPrivSeriesRedis(t *testing.T) { testSeries(t, testcluster.Redis) }

// testSeries compares actions on a cluster under load, side by side, and repeats
// one, as a user would.
func testSeries(t *testing.T, kind testcluster.Kind) {
	dir, cluster, load := underLoad(t, kind)
	binary := pilotBinary(t)
	var pids []string
	for _, pid := range cluster.PIDs() {
		pids = append(pids, strconv.Itoa(pid))
	}
	victim := cluster.Members[len(cluster.Members)-1]
	health := strings.Join(cluster.HealthCommand(), " ")
	run := func(want int, into any, args ...string) string {
		t.Helper()
		args = slices.Insert(args, 1, "-q", "--settle", "2s", "--pid", strings.Join(pids, ","), "--check", health)
		got, stdout, stderr := runPilot(t, binary, dir, os.Environ(), args...)
		if got != want {
			t.Errorf("%v: exit status %d, want %d\n%s%s", args, got, want, stdout, stderr)
		}
		if into == nil {
			return stdout
		}
		if err := json.Unmarshal([]byte(stdout), into); err != nil {
			t.Fatalf("pilot said %q (%v)\n%s", stdout, err, stderr)
		}
		return ""
	}

	kill := "kill -9 " + strconv.Itoa(victim.PID)
	var c series.Comparison
	run(2, &c, "compare", "--json", "--control", "true", kill)
	if !c.Differs || len(c.Columns) != 3 || c.Columns[0].Status != model.Pass || c.Columns[1].Status != model.Fail {
		t.Errorf("comparison: %+v", c)
	}
	row := func(name string) []string {
		for _, r := range c.Rows {
			if r.Property == name {
				return r.Values
			}
		}
		return make([]string, len(c.Columns))
	}
	if got := row("processes ended"); got[0] != "none" || !strings.HasSuffix(got[1], " (SIGKILL)") || got[2] != "none" {
		t.Errorf("processes ended: %q", got)
	}
	if got := row("healthy"); !strings.HasPrefix(got[0], "after ") || !strings.HasPrefix(got[1], "not within ") {
		t.Errorf("healthy: %q", got)
	}
	if !slices.ContainsFunc(c.Findings, func(g series.Group) bool { return g.Rule == "member-lost" && slices.Equal(g.Runs, []int{2}) }) {
		t.Errorf("findings: %+v", c.Findings)
	}
	text := run(0, nil, "compare", "true", "true")
	if !strings.HasPrefix(text, "SAME") {
		t.Errorf("text:\n%s", text)
	}
	t.Log(run(2, nil, "compare", "--control", "true", kill))

	var s series.Rounds
	run(0, &s, "run", "--json", "--repeat", "3", "--controls", "2", "--", "true")
	if s.Passed != 3 || s.Status != model.Pass || len(s.Rounds) != 3 {
		t.Errorf("rounds: %+v", s)
	}
	// Each has a run of its own, which can be read again.
	for _, id := range []string{c.Columns[0].Run, c.Columns[1].Run, s.Rounds[2].Run} {
		status, out, _ := runPilot(t, binary, dir, os.Environ(), "report", id, "-o", "json")
		var r model.Report
		if status != 0 || json.Unmarshal([]byte(out), &r) != nil || r.ID != id || r.Part == nil || len(r.Leftovers) > 0 {
			t.Errorf("report %s: status %d, part %+v, left %v", id, status, r.Part, r.Leftovers)
		}
	}
	for _, line := range processesNaming(filepath.Join(dir, "state")) {
		t.Errorf("left behind: process %s", line)
	}
	for _, m := range cluster.Members {
		if got := append(traces(m.PID), children(m.PID)...); len(got) > 0 {
			t.Errorf("%s: left behind: %v", m.Name, got)
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
