//go:build linux

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testcluster"
)

func TestPrivRunEtcd(t *testing.T)      { testRun(t, testcluster.Etcd) }
func TestPrivRunNATS(t *testing.T)      { testRun(t, testcluster.NATS) }
func TestPrivRunZooKeeper(t *testing.T) { testRun(t, testcluster.ZooKeeper) }
func TestPrivRunRedis(t *testing.T)     { testRun(t, testcluster.Redis) }
func TestPrivRunKafka(t *testing.T)     { testRun(t, testcluster.Kafka) }

// testRun pilots an action that does nothing, as a user would: with pids only.
// The data directories are found, the check passes, and nothing is alarming.
// Then it pilots one that kills a member, which must not pass.
func testRun(t *testing.T, kind testcluster.Kind) {
	dir, cluster, load := underLoad(t, kind)
	binary := pilotBinary(t)
	var pids []string
	for _, pid := range cluster.PIDs() {
		pids = append(pids, strconv.Itoa(pid))
	}
	health := strings.Join(cluster.HealthCommand(), " ")
	trace := "full"
	if kind == testcluster.Kafka {
		trace = "effects" // all calls of 300 threads, on what two busy processors leave, overload its controllers
	}
	run := func(want int, action ...string) model.Report {
		t.Helper()
		// Patience as users have it: the host is busy with what production just started.
		args := []string{"--settle", "1s", "--patience", "30s", "--trace", trace, "--pid", strings.Join(pids, ","), "--check", health, "--"}
		return pilotRun(t, binary, dir, want, append(args, action...)...)
	}
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
	// The others say so at once, as an error.
	if kind == testcluster.NATS && !slices.ContainsFunc(r.Verdict.Findings, func(f model.Finding) bool {
		return f.Rule == "log-error" && strings.Contains(f.Message, "route")
	}) {
		t.Errorf("no error in the logs of the others: %+v", r.Verdict.Findings)
	}
	if kind == testcluster.ZooKeeper && !strings.Contains(eventsOf(t, dir), "sun.nio.ch.") {
		t.Errorf("no call stack names a function in Java")
	}
	// A namespace lives as long as a process is in it: a world's init and what
	// it started name the world, seeds and stems are children of members.
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

// runPilot runs pilot with the state of all runs in dir.
func runPilot(t *testing.T, binary, dir string, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(slices.Clip(env), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), said.String()
}

// pilotRun has `pilot run` with args end with a status, and returns its report. dir
// has the state of all runs.
func pilotRun(t *testing.T, binary, dir string, want int, args ...string) (r model.Report) {
	t.Helper()
	got, stdout, stderr := runPilot(t, binary, dir, os.Environ(), append([]string{"run", "-q", "--json", "--patience", "0s"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("pilot said %q (%v)\n%s", stdout, err, stderr)
	}
	if got != want {
		t.Errorf("exit status %d, want %d: %s\n%+v", got, want, r.Verdict.Reason, r.Verdict.Findings)
	}
	if len(r.Leftovers) > 0 {
		t.Errorf("left behind: %v", r.Leftovers)
	}
	return r
}

// eventsOf returns the events of all trials below dir, as JSON.
func eventsOf(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	files, _ := filepath.Glob(filepath.Join(dir, "state", "pilot", "runs", "*", "trial.events.jsonl.gz"))
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err == nil {
			_, err = io.Copy(&all, z)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	return all.String()
}

// processesNaming lists the processes that have path in their command line.
func processesNaming(path string) (out []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(path)) {
			out = append(out, string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
		}
	}
	return out
}

// children lists the processes that a member is the parent of.
func children(pid int) (out []string) {
	found, _ := procfs.Children(pid)
	for _, child := range found {
		out = append(out, "child process "+strconv.Itoa(child))
	}
	return out
}
