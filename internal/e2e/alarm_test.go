//go:build linux

package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/testcluster"
)

// TestPrivFalseAlarm pilots an action that does nothing, again and again, on
// clusters that serve as fast as their clients ask. Every run must pass without
// a finding. PILOT_ALARM_RUNS says how many runs of each system.
func TestPrivFalseAlarm(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("PILOT_ALARM_RUNS"))
	if err != nil {
		t.Skip("PILOT_ALARM_RUNS is not set; TestPrivRun… have a run of each")
	}
	for _, kind := range testcluster.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			dir, cluster, load := underLoad(t, kind)
			binary := pilotBinary(t)
			args := []string{"--settle", "1s", "--check", strings.Join(cluster.HealthCommand(), " ")}
			for _, pid := range cluster.PIDs() {
				args = append(args, "--pid", strconv.Itoa(pid))
			}
			alarms := 0
			for i := range runs {
				r := pilotRun(t, binary, dir, 0, append(args, "--", "true")...)
				for _, f := range r.Verdict.Findings {
					t.Errorf("run %d: %s: %s (control: %s) %v", i, f.Rule, f.Message, f.Control, f.Evidence)
				}
				if len(r.Verdict.Findings) > 0 {
					alarms++
				}
			}
			stats, err := load.Stop()
			if err != nil {
				t.Fatal(err)
			}
			if stats.Errors > 0 || stats.Losses > 0 {
				t.Errorf("production's clients saw %d errors (first: %s) and %d lost sessions", stats.Errors, stats.FirstError, stats.Losses)
			}
			t.Logf("alarms: %s %d of %d runs; %d writes acknowledged meanwhile", kind, alarms, runs, stats.Acked)
		})
	}
}
