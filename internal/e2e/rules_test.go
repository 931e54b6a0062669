//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// TestPrivRules has a real server do what rules are about: it goes on to run in all
// cases, and no check is given.
func TestPrivRules(t *testing.T) {
	dir, cluster, _ := underLoad(t, testcluster.Redis)
	binary := pilotBinary(t)
	master := cluster.Members[0]
	host, port, _ := strings.Cut(master.Client, ":")
	tell := func(command string) []string {
		return []string{"bash", "-c", fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf '%s\r\n' >&3; sleep 0.2`, host, port, command)}
	}
	pid := strconv.Itoa(master.PID)
	for _, c := range []struct {
		name   string
		status int
		rule   string // empty: no finding
		action []string
	}{
		{"nothing", 0, "", tell("PING")},
		{"deaf", 2, "service-gone", tell("CONFIG SET port 0")},
		{"stopped", 2, "stuck", []string{"kill", "-STOP", pid}},
		{"endless", 0, "busy", tell(`EVAL "while true do end" 0`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"--settle", "2s", "--pid", pid, "--pid", strconv.Itoa(cluster.Members[1].PID), "--"}
			r := pilotRun(t, binary, dir, c.status, append(args, c.action...)...)
			i := slices.IndexFunc(r.Verdict.Findings, func(f model.Finding) bool { return f.Rule == c.rule })
			if c.rule == "" && len(r.Verdict.Findings) > 0 || c.rule != "" && (i < 0 || r.Verdict.Findings[i].PID != master.PID) {
				t.Errorf("findings: %+v", r.Verdict.Findings)
			}
		})
	}
}
