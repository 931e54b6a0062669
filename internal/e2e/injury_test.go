//go:build linux

package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// TestPrivAlsoFail makes second failures in trials of three etcd members: one
// may be lost, two may not. Production sees nothing of it.
func TestPrivAlsoFail(t *testing.T) {
	dir, cluster, load := underLoad(t, testcluster.Etcd)
	before, err := cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	binary := pilotBinary(t)
	two, three := cluster.Members[1].Name, cluster.Members[2].Name
	health := strings.Join([]string{cluster.HealthCommand()[0], "etcd", "health", "-endpoints", cluster.Members[0].Client}, " ")
	run := func(t *testing.T, status int, action string, flags ...string) model.Report {
		t.Helper()
		args := []string{"--settle", "2s", "--check", health}
		for _, pid := range cluster.PIDs() {
			args = append(args, "--pid", strconv.Itoa(pid))
		}
		for _, f := range flags {
			args = append(args, "--also-fail", f)
		}
		return pilotRun(t, binary, dir, status, append(args, "--", "sh", "-c", action)...)
	}
	rules := func(r model.Report) (out []string) {
		for _, f := range r.Verdict.Findings {
			out = append(out, f.Rule+": "+f.Message)
		}
		return out
	}
	t.Run("one of three", func(t *testing.T) {
		r := run(t, 0, "sleep 1", three+"@action")
		i := r.Trial.Injured
		if len(i) != 1 || i[0].Err != "" || i[0].At == 0 || len(i[0].PIDs) != 1 || i[0].PIDs[0] != cluster.Members[2].PID {
			t.Errorf("injured: %+v", i)
		}
		if !strings.HasPrefix(r.Verdict.Reason, "with kill:"+three+"@action: ") {
			t.Errorf("%s", r.Verdict.Reason)
		}
		if len(r.Control.Injured) > 0 {
			t.Errorf("in the control: %+v", r.Control.Injured)
		}
	})
	t.Run("two of three", func(t *testing.T) {
		r := run(t, 2, "sleep 1", two+"@action", three+"@100ms")
		if r.Verdict.Status != model.Fail || !strings.Contains(r.Verdict.Reason, "kill:"+three+"@100ms") {
			t.Errorf("%s: %s %q", r.Verdict.Status, r.Verdict.Reason, rules(r))
		}
	})
	t.Run("for a while, by a file", func(t *testing.T) {
		r := run(t, 0, "sleep 0.3; touch "+dir+"/sign; sleep 1", "stop=500ms:"+two+"@file:"+dir+"/sign")
		i := r.Trial.Injured
		if len(i) != 1 || i[0].Err != "" || i[0].Until-i[0].At < 500e6 {
			t.Errorf("injured: %+v %q", i, rules(r))
		}
	})
	t.Run("the leader, cut off", func(t *testing.T) {
		leader, err := cluster.Leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// The others elect another one, which the cut one does not hear of.
		others := slices.DeleteFunc(slices.Clone(cluster.Members), func(m *testcluster.Member) bool { return m == leader })
		status := func(m *testcluster.Member) string {
			return strings.Join([]string{cluster.HealthCommand()[0], "etcd", "status", "-endpoints", m.Client}, " ")
		}
		want := 0
		if leader == cluster.Members[0] {
			want = 2 // the check asks the one that is cut off
		}
		r := run(t, want, "sleep 4; for e in "+others[0].Client+" "+others[1].Client+"; do "+cluster.HealthCommand()[0]+" etcd health -endpoints $e || exit 9; done; "+
			"! "+cluster.HealthCommand()[0]+" etcd health -timeout 1s -endpoints "+leader.Client+" && echo cut; "+status(others[0]), "partition:"+leader.Name+"@0s")
		if out := r.Trial.Action.Output; r.Trial.Action.Exit == nil || !r.Trial.Action.Exit.OK() || !strings.Contains(out, "cut") || strings.Contains(out, `"leader": "`+leader.Client) {
			t.Errorf("%+v: %s\n%+v %q", r.Trial.Action.Exit, out, r.Trial.Injured, rules(r))
		}
	})
	t.Run("a slow disk", func(t *testing.T) {
		client := strings.Join([]string{cluster.HealthCommand()[0], "etcd", "load", "-rate", "-1", "-prefix", "slow", "-workers", "1", "-endpoints", cluster.Members[0].Client}, " ")
		timed := "timeout -s TERM 2 " + client + "; true"
		writes := func(flags ...string) int {
			r := run(t, 0, timed, flags...)
			at := strings.LastIndex(r.Trial.Action.Output, `"acked": `)
			if at < 0 {
				t.Fatalf("%+v", r.Trial.Action)
			}
			n := 0
			for _, c := range r.Trial.Action.Output[at+len(`"acked": `):] {
				if c < '0' || c > '9' {
					break
				}
				n = 10*n + int(c-'0')
			}
			return n
		}
		var slow []string // one alone is not waited for
		for _, m := range cluster.Members {
			slow = append(slow, "slow-disk:"+m.Name+"@0s")
		}
		if fast, slow := writes(), writes(slow...); slow == 0 || slow > 30 || fast < 2*slow {
			t.Errorf("%d writes in 2 s, %d on slow disks, of which each takes 0.1 s", fast, slow)
		}
	})
	t.Run("by a log, that never comes", func(t *testing.T) {
		r := run(t, 3, "true", two+"@log:no such words")
		if i := r.Trial.Injured; len(i) != 1 || i[0].Err == "" || r.Verdict.Status != model.Unknown {
			t.Errorf("%s: %s %+v", r.Verdict.Status, r.Verdict.Reason, i)
		}
	})
	untouched(t, cluster, load, before)
}
