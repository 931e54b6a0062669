//go:build linux

package limittest

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
	"sync/atomic"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"github.com/pilotexec/pilot/internal/worldinit"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	switch os.Args[0] {
	case victim.Name:
		victim.Main()
	case agentName:
		agentMain()
	default:
		testenv.Main(m)
	}
}

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-limittest-agent"

// A scene is a victim, in namespaces of its own, that is to be piloted.
type scene struct {
	dir   string // of the test
	data  string // of the victim
	space *osthread.Thread
	spec  model.Spec
}

// stage starts a victim and waits until it is busy. The action is a line of
// shell, in which $DATA is the victim's directory and $PID its number.
func stage(t *testing.T, kind, action string, enter func() error) *scene {
	t.Helper()
	testenv.Privileged(t)
	dir := testenv.Dir(t, "limit")
	s := &scene{dir: dir, data: filepath.Join(dir, "data"), space: testenv.Space(t)}
	if err := s.space.Do(enter); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(s.data, 0o755), os.MkdirAll(s.work(), 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{victim.Name, kind, s.data}, Stderr: os.Stderr}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.spec = model.Spec{
		Members: []model.Member{{Name: kind, PID: cmd.Process.Pid, Args: cmd.Args, Data: []string{s.data}}},
		Action:  []string{"/bin/sh", "-c", action}, Dir: "/",
		Env:      append(os.Environ(), "DATA="+s.data, fmt.Sprintf("PID=%d", cmd.Process.Pid)),
		MaxPause: 500 * time.Millisecond, Timeout: 40 * time.Second, Settle: time.Second,
		Limits: model.Limits{MaxMemory: 160 << 20, MaxDisk: 64 << 20, MaxMemoryPressure: 60, MaxIOPressure: 100},
	}
	s.goesOn(t)
	return s
}

// here adds nothing to a scene's namespaces.
func here() error { return nil }

// work is the directory of the run, as the registry would name it.
func (s *scene) work() string { return filepath.Join(s.dir, filepath.Base(s.dir), "work") }

// groups lists the control groups of the run that are there.
func (s *scene) groups() (out []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/pilot-%s*", "/sys/fs/cgroup/*/pilot-%s*"} {
		dirs, _ := filepath.Glob(fmt.Sprintf(pattern, filepath.Base(s.dir)))
		out = append(out, dirs...)
	}
	return out
}

// goesOn wants production to go on, and to be well.
func (s *scene) goesOn(t *testing.T) {
	t.Helper()
	testenv.GoesOn(t, filepath.Join(s.data, victim.Log), 25)
}

// An order tells the agent what to do.
type order struct {
	Spec model.Spec
	Env  []string
	Work string
	// Stall is the phase from whose beginning on the host seems to wait for
	// memory, or empty.
	Stall string
	// Short is the phase from whose beginning on the host has hardly any memory
	// available. The phase begins when that has been noticed.
	Short string
	// Available is the memory that the host seems to have, 0 for the truth.
	Available int64
	Sweep     bool
	RealHost  bool // how it fares is read
	// Series has a series made instead of a run. Cancel is the phase in whose
	// second beginning it is cancelled, or empty.
	Series *model.Series
	Cancel string
}

// An outcome is what the agent tells.
type outcome struct {
	Report  *model.Report
	Reports []*model.Report // of a series
	// Kept is the most worlds that had files when one was made.
	Kept    int
	Err     string
	Refused bool
	Swept   []string
	Phases  map[string]time.Time
	Nice    map[string][]int // of the agent, when a phase of a series began
}

// command is the agent with an order, to be started on the scene's thread.
func (s *scene) command(ctx context.Context, t *testing.T, o order) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	o.Spec, o.Env, o.Work = s.spec, s.spec.Env, s.work()
	input, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, os.Stderr
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// agent has the agent do o, and wants no group to be left and production to go on.
func (s *scene) agent(t *testing.T, o order) (got outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*testenv.Patience)
	defer cancel()
	cmd, out := s.command(ctx, t, o)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("agent: %v", err)
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("agent said %q: %v", out.Bytes(), err)
	}
	if left := s.groups(); len(left) > 0 {
		t.Errorf("groups are left: %v", left)
	}
	s.goesOn(t)
	if r := got.Report; r != nil {
		t.Logf("%s: %s; trial %+v, control %+v; pause %v, spawned in %v and %v; %s", r.Verdict.Status, r.Verdict.Reason,
			r.Trial.Use, r.Control.Use, r.Pause.Total, r.Trial.Spawn, r.Control.Spawn, r.Confinement)
		if len(r.Leftovers) > 0 {
			t.Errorf("left behind: %v", r.Leftovers)
		}
	}
	return got
}

// unknown pilots the scene, and wants the verdict to be unknown for a reason.
func (s *scene) unknown(t *testing.T, o order, reason string) outcome {
	t.Helper()
	got := s.agent(t, o)
	switch r := got.Report; {
	case r == nil:
		t.Fatalf("no report, but %s", got.Err)
	case r.Verdict.Status != model.Unknown || !strings.Contains(r.Verdict.Reason, reason):
		t.Fatalf("%s: %s; want unknown for %q\n%+v", r.Verdict.Status, r.Verdict.Reason, reason, r.Verdict.Findings)
	}
	return got
}

func agentMain() {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	o.Spec.Env = o.Env
	got := outcome{Phases: map[string]time.Time{}, Nice: map[string][]int{}}
	var err error
	if o.Sweep {
		got.Swept, err = agent.Engine{}.Sweep(context.Background(), []string{o.Work})
	} else if o.Series == nil {
		got.Report, err = o.run(&got)
	}
	if o.Series != nil {
		err = o.series(&got)
	}
	var refused *model.RefusedError
	if got.Refused = errors.As(err, &refused); err != nil {
		got.Err = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		os.Exit(1)
	}
}

// run pilots, with a host that fares as ordered.
func (o order) run(got *outcome) (*model.Report, error) {
	var stalled, short atomic.Bool
	var looks atomic.Int64
	began := time.Now()
	if o.RealHost {
		return agent.Engine{}.Run(context.Background(), o.Spec, o.Work, func(string, string) {})
	}
	engine := agent.Engine{ReadHost: func(string) (plan.Reading, error) {
		const gib = 1 << 30
		r := plan.Reading{
			At: time.Since(began), Pressure: true,
			Room: plan.Room{Memory: 8 * gib, MemoryTotal: 16 * gib, Disk: 50 * gib, DiskTotal: 100 * gib},
		}
		if looks.Add(1); short.Load() {
			r.Memory = 100 << 20
		}
		if o.Available != 0 {
			r.Memory = o.Available
		}
		if stalled.Load() {
			r.MemoryStall = r.At * 9 / 10
		}
		return r, nil
	}}
	return engine.Run(context.Background(), o.Spec, o.Work, func(phase, _ string) {
		got.Phases[phase] = time.Now()
		if phase == o.Stall {
			stalled.Store(true)
		}
		if phase == o.Short {
			short.Store(true)
			// One look may be under way that does not know; the second is judged
			// when the third begins.
			for from := looks.Load(); looks.Load() < from+3; time.Sleep(time.Millisecond) {
			}
		}
	})
}
