//go:build linux

package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivTreeOfARun has pilot fork the servers and run the client in the fork,
// and compares the tree of what was recorded there with what the programs of the
// fork wrote. The truth comes out of the world as the output of a check.
func TestPrivTreeOfARun(t *testing.T) {
	testenv.Privileged(t)
	pilot := buildPilot(t)
	if help, err := exec.CommandContext(t.Context(), pilot, "help", "run").Output(); err != nil || !bytes.Contains(help, []byte("--trace")) {
		t.Skipf("this pilot records no events (%v)", err)
	}
	for _, style := range []string{Hidden, Threads, Loop} {
		t.Run(style, func(t *testing.T) {
			tree, facts := traced(t, pilot, style)
			res := Score(tree, facts)
			t.Logf("%d nodes, %d facts without: %s", len(tree.Nodes), res.Unseen, res)
			if res.True < 1000 {
				t.Errorf("%d effects of the action", res.True)
			}
			if both := float64(res.Both); both < goal*float64(res.True) || both < goal*float64(res.Claimed) {
				t.Errorf("less than %.2f are rightly said to be of the action, or not", goal)
			}
			if res.Precision() < goal-0.1 || res.Recall() < goal-0.1 {
				t.Errorf("less than %.2f are under the right request", goal-0.1)
			}
		})
	}
}

// buildPilot builds pilot's command, which must not be the parent of what it
// traces and so is a process of its own.
func buildPilot(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(testenv.Dir(t, "relay"), "pilot")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./cmd/pilot")
	cmd.Dir = filepath.Join("..", "..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return exe
}

// traced pilots a relay, and returns the tree and the truth.
func traced(t *testing.T, pilot, style string) (*causal.Tree, []Fact) {
	t.Helper()
	dir := testenv.Dir(t, "relay")
	exe := filepath.Join(dir, Name)
	copySelf(t, exe)
	cfg := Config{Style: style, Dir: dir, Front: freeAddress(t), Back: freeAddress(t), Requests: 80, Clients: 1}
	roles := map[int]string{}
	args := []string{"run", "-q", "--json", "--trace", "full", "--settle", "1s", "--check", "cat " + dir + "/truth-*"}
	for _, role := range []string{Back, Front} {
		pid, stop := process(t, cfg, role)
		defer stop()
		roles[pid] = role
		args = append(args, "--pid", fmt.Sprint(pid))
	}
	cfg.Role = Client
	arg, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var r model.Report
	state := "XDG_STATE_HOME=" + t.TempDir()
	output(t, &r, state, pilot, append(args, "--", exe, string(arg))...)
	if r.Verdict.Status != model.Pass || len(r.Trial.Probes) != 1 {
		t.Fatalf("verdict: %+v", r.Verdict)
	}
	truth := r.Trial.Probes[0].After
	if truth.Cut {
		t.Fatal("the truth is too long for the output of a check")
	}
	// The servers go on while it is read.
	facts, err := ReadFacts(strings.NewReader(truth.Output[:strings.LastIndexByte(truth.Output, '\n')+1]))
	if err != nil {
		t.Fatal(err)
	}
	var tree causal.Tree
	output(t, &tree, state, pilot, "tree", "-o", "json")
	for i := range tree.Nodes {
		n := &tree.Nodes[i]
		for _, m := range r.Spec.Members {
			if n.Member == m.Name {
				n.Member = roles[m.PID]
				break
			}
		}
	}
	return &tree, facts
}

// copySelf puts this program where a world has it too: not into /tmp, of which a
// world has its own.
func copySelf(t *testing.T, to string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(to, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// output runs a command and decodes what it prints.
func output(t *testing.T, v any, env, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if jerr := json.Unmarshal(out, v); jerr != nil {
		t.Fatalf("%s %q: %v, %v\n%s", name, args, err, jerr, stderr.String())
	}
}
