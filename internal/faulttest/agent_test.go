//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-fault-agent"

// request is what the test tells an agent.
type request struct {
	Spec   model.Spec
	Dir    string // of the run
	Faults []fault.Injection
}

// outcome is what an agent tells, unless it is killed.
type outcome struct {
	Err      string
	Injected bool // Err is that of a fault
	Status   model.Status
	Reason   string
	Left     []string
}

// diary is the agent's descriptor that it writes to what it has come to, a line
// each: "phase NAME" or "fault NUMBER". It survives the agent.
const diary = 3

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := os.NewFile(diary, "diary")
	note := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	fault.Arm(func(in fault.Injection) { note("fault %d", in.Point) }, req.Faults...)
	report, err := agent.Engine{}.Run(context.Background(), req.Spec, req.Dir, func(phase, _ string) { note("phase %s", phase) })
	note("phase ended")
	var o outcome
	if err != nil {
		o.Err, o.Injected = err.Error(), errors.Is(err, fault.ErrInjected)
	} else {
		o.Status, o.Reason, o.Left = report.Verdict.Status, report.Verdict.Reason, report.Leftovers
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		os.Exit(1)
	}
}

// A ride is an agent at work.
type ride struct {
	cmd    *exec.Cmd
	diary  *os.File
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// start starts an agent on req.
func start(t *testing.T, req request) *ride {
	t.Helper()
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(filepath.Dir(req.Dir), "diary-*")
	if err != nil {
		t.Fatal(err)
	}
	r := &ride{cmd: &exec.Cmd{Path: "/proc/self/exe", Args: []string{agentName}}, diary: file}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = bytes.NewReader(input), &r.stdout, &r.stderr
	r.cmd.ExtraFiles = []*os.File{file}
	// Worlds inherit stderr, and may outlive a killed agent by a moment.
	r.cmd.WaitDelay = patience
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// kill ends the agent at once.
func (r *ride) kill() { _ = r.cmd.Process.Kill() }

// An end is how an agent ended, and what it had come to.
type end struct {
	outcome
	killed bool
	phase  string        // the last one
	hits   []fault.Point // the faults that struck
	said   string        // on stderr
}

// wait waits for the agent's end.
func (r *ride) wait(t *testing.T) (e end) {
	t.Helper()
	hang := time.AfterFunc(patience, func() {
		_ = r.cmd.Process.Signal(syscall.SIGQUIT) // tells where it stands
		time.Sleep(time.Second)
		r.kill()
	})
	err := r.cmd.Wait()
	if !hang.Stop() {
		t.Fatalf("the agent hung for %v: %s", patience, &r.stderr)
	}
	text, rerr := os.ReadFile(r.diary.Name())
	_, _ = r.diary.Close(), os.Remove(r.diary.Name())
	if errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("something of the agent's outlived it by %v", patience)
	}
	if rerr != nil {
		t.Fatal(rerr)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "phase "); ok {
			e.phase = strings.TrimSpace(name)
		}
		var n fault.Point
		if _, err := fmt.Sscanf(line, "fault %d", &n); err == nil {
			e.hits = append(e.hits, n)
		}
	}
	e.said = r.stderr.String()
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signal() == syscall.SIGKILL {
		e.killed = true
		return e
	}
	if err != nil {
		t.Fatalf("agent: %v: %s", err, &r.stderr)
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &e.outcome); err != nil {
		t.Fatalf("agent said %q: %v", &r.stdout, err)
	}
	return e
}

// reached waits until the fault at p strikes.
func reached(t *testing.T, r *ride, p fault.Point) {
	t.Helper()
	want := fmt.Sprintf("fault %d\n", p)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(r.diary.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the run did not come to %q in %v: %s", p, patience, text)
		}
	}
}
