//go:build linux

package relay

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
)

func TestMain(m *testing.M) {
	Main()
	testenv.Main(m)
}

// goal is the least precision and recall.
const goal = 0.95

func TestTreeAgreesWithTheTruth(t *testing.T) {
	var sum Result
	// Without a name for its task, work that sleeps or is handed over among several
	// requests cannot be told apart: which request is then a guess, but not whether
	// it is of the action.
	least := map[string]float64{Hidden: 0.4}
	for _, style := range []string{Tasks, Hidden, Threads, Loop} {
		for name, clients := range map[string]int{"one by one": 1, "four at once": 4} {
			t.Run(style+", "+name, func(t *testing.T) {
				cfg := Config{Style: style, Front: freeAddress(t), Back: freeAddress(t), Requests: 80, Clients: clients}
				trial, facts := world(t, cfg, 0)
				cfg.Requests = 0
				control, _ := world(t, cfg, trial.Lifetime)
				renumber(control, trial)
				res := Score(causal.Build(trial, control), facts)
				t.Logf("%d events: %s", len(trial.Events), res)
				if res.True < 1000 || res.Unseen > 0 {
					t.Errorf("%d effects of the action, %d unseen", res.True, res.Unseen)
				}
				// Who woke whom is guessed, and differs from run to run.
				if floor := cmp.Or(least[style], goal-0.1); res.Precision() < floor || res.Recall() < floor {
					t.Errorf("less than %.2f", floor)
				}
				if both := float64(res.Both); both < 0.85*float64(res.True) || both < 0.85*float64(res.Claimed) {
					t.Error("less than 0.85 are rightly said to be of the action, or not")
				}
				if style != Hidden {
					sum.add(res)
				}
			})
		}
	}
	t.Logf("where tasks or threads are known: %s", sum)
	if sum.Precision() < goal || sum.Recall() < goal {
		t.Errorf("the goal is %.2f", goal)
	}
}

// TestMergedEvents merges what goes over a connection, as a tracer that tells of
// effects alone does. Which request is then not known, but what is of the action.
func TestMergedEvents(t *testing.T) {
	for style, least := range map[string]float64{Hidden: 0.6, Threads: 0.85} {
		t.Run(style, func(t *testing.T) {
			cfg := Config{Style: style, Front: freeAddress(t), Back: freeAddress(t), Requests: 80, Clients: 2}
			trial, facts := world(t, cfg, 0)
			cfg.Requests = 0
			control, _ := world(t, cfg, trial.Lifetime)
			renumber(control, trial)
			before := len(trial.Events)
			trial.Events, control.Events = merged(trial.Events), merged(control.Events)
			res := Score(causal.Build(trial, control), facts)
			precision, recall := float64(res.Both)/float64(res.Claimed), float64(res.Both)/float64(res.True)
			t.Logf("%d events made of %d, is it of the action: precision %.3f, recall %.3f; %s", len(trial.Events), before, precision, recall, res)
			if precision < 0.85 || recall < least || res.True < 500 {
				t.Error("far from the truth")
			}
		})
	}
}

// renumber gives the processes of control, and the threads that they started
// first, the numbers that those of trial have: phantoms of one process have the same.
func renumber(control, trial *model.World) {
	numbers := map[int]int{}
	for i := range control.Processes {
		p, q := &control.Processes[i], trial.Processes[i]
		numbers[p.PID] = q.PID
		threads := started(trial, q.PID)
		for k, tid := range started(control, p.PID) {
			if k < len(threads) {
				numbers[tid] = threads[k]
			}
		}
		p.PID = q.PID
	}
	for i := range control.Events {
		e := &control.Events[i]
		for _, n := range []*int{&e.PID, &e.TID, &e.Child} {
			if to, ok := numbers[*n]; ok {
				*n = to
			}
		}
	}
}

// started are the threads that process pid started, in order.
func started(w *model.World, pid int) (tids []int) {
	for _, e := range w.Events {
		if e.Kind == model.EventStart && e.PID == pid {
			tids = append(tids, e.Child)
		}
	}
	return tids
}

// merged makes one event of what goes one way over a connection within 100 ms,
// by no thread if it was several, and of all writes of a process to a file.
func merged(events []model.Event) (out []model.Event) {
	type key struct {
		pid        int
		kind, what string
	}
	open := map[key]int{}
	for _, e := range events {
		k := key{e.PID, e.Kind, e.Conn + e.Object}
		window := time.Hour
		switch e.Kind {
		case model.EventSend, model.EventReceive:
			e.At, e.Took, window = e.At+e.Took, 0, 100*time.Millisecond
		case model.EventWrite:
		default:
			out = append(out, e)
			continue
		}
		if i, ok := open[k]; ok && e.At-out[i].At < window {
			m := &out[i]
			m.Count, m.Bytes = max(1, m.Count)+1, m.Bytes+e.Bytes
			if e.Kind != model.EventWrite {
				m.Took = e.At - m.At
				if m.TID != e.TID {
					m.TID = 0
				}
			}
			continue
		}
		open[k] = len(out)
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b model.Event) int { return cmp.Compare(a.At, b.At) })
	return out
}

// TestScoreNotices shows Score trees that are wrong.
func TestScoreNotices(t *testing.T) {
	trial, facts := world(t, Config{Style: Tasks, Front: freeAddress(t), Back: freeAddress(t), Requests: 20, Clients: 1}, 0)
	if r := Score(causal.Build(&model.World{}, nil), slices.Clone(facts)); r.True != 0 || r.Unseen != len(facts) {
		t.Errorf("no tree: %s", r)
	}
	tree := causal.Build(trial, nil)
	for i := range tree.Nodes {
		n := &tree.Nodes[i]
		n.Doer = causal.ByAction
		if n.Kind == model.EventCreate {
			n.Parent = 0
		}
	}
	if r := Score(tree, slices.Clone(facts)); r.Precision() > 0.8 || r.Recall() > 0.9 {
		t.Errorf("everything claimed: %s", r)
	}
}

// world runs the relay for at least as long as told and returns what was
// recorded. Without requests it is a control.
func world(t *testing.T, cfg Config, least time.Duration) (*model.World, []Fact) {
	t.Helper()
	dir := t.TempDir()
	zero := time.Now()
	cfg.Dir, cfg.Zero = dir, zero.UnixNano()
	w := &model.World{Name: "control"}
	for _, role := range []string{Back, Front} {
		pid, stop := process(t, cfg, role)
		defer stop()
		w.Processes = append(w.Processes, model.Process{PID: pid, Member: role, Phantom: true, Args: []string{role}})
	}
	if cfg.Requests > 0 {
		w.Name = "trial"
		started := time.Since(zero)
		pid, _ := process(t, cfg, Client)
		w.Action = &model.CommandResult{PID: pid}
		w.Processes = append(w.Processes, model.Process{PID: pid, Cause: model.CauseAction, Args: []string{Client}, Started: started})
	}
	// Some of what was asked for is done later.
	time.Sleep(max(300*time.Millisecond, least-time.Since(zero)))
	facts := read[Fact](t, dir, "truth-*") // before the events: the servers go on
	w.Lifetime = time.Since(zero)
	w.Events = read[model.Event](t, dir, "events-*")
	slices.SortStableFunc(w.Events, func(a, b model.Event) int { return cmp.Compare(a.At, b.At) })
	return w, facts
}

// process starts a role. It returns when a server listens, or the client ended.
// The caller stops it.
func process(t *testing.T, cfg Config, role string) (pid int, stop func()) {
	t.Helper()
	cfg.Role = role
	arg, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{Name, string(arg)}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if role == Client {
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid, nil
	}
	in := bufio.NewReader(out)
	if line, err := in.ReadString('\n'); err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%s said %q: %v", role, line, errors.Join(err, cmd.Wait()))
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, in)
	}()
	return cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	}
}

// freeAddress is one that a server can listen on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// read reads what is complete of the files of a world.
func read[T any](t *testing.T, dir, pattern string) (all []T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list, err := lines[T](bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}
