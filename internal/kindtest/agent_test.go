//go:build linux

package kindtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/tracee"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// request is what the test tells its agent.
type request struct {
	Members []model.Member
	Dir     string
	Doctor  bool
	Run     *model.Spec // instead: a whole run, members added
	// Hold is how long the agent dawdles while it makes the worlds.
	Hold time.Duration
	// Stuck has the agent give up a call of the helper that goes on, and leave.
	Stuck bool
}

// outcome is what the agent tells.
type outcome struct {
	Problems  []string
	Worlds    []*world
	Pause     model.Pause
	Diagnoses []model.Diagnosis
	Report    *model.Report
}

// A world is one of the two that are spawned from a test's snapshot.
type world struct {
	Name    string
	Logs    []string // of the phantoms
	Outputs []string // what went to their terminals
	AtCut   []int    // rounds in these logs at the cut
	Gaps    []model.Gap
	// How far the world's clocks jumped.
	WallAhead, ClockAhead time.Duration

	w     *spawn.World
	watch *observe.Watch
	files []string // the logs
}

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var o outcome
	switch {
	case req.Stuck:
		o.stick(req.Members[0].PID)
	case req.Run != nil:
		o.pilot(context.Background(), req)
	case req.Doctor:
		var err error
		if o.Diagnoses, err = (agent.Engine{}).Doctor(context.Background(), model.Spec{Members: req.Members}); err != nil {
			o.problem("doctor: %v", err)
		}
	default:
		o.fork(context.Background(), req)
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		os.Exit(1)
	}
}

func (o *outcome) problem(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
}

// stick has the helper of pid make a long call, gives it up and removes the helper.
func (o *outcome) stick(pid int) {
	tracer := osthread.New()
	defer tracer.Close()
	if err := tracer.Do(func() error {
		origin, err := tracee.Open(pid)
		if err != nil {
			return err
		}
		if err := origin.Prepare(); err != nil {
			return errors.Join(err, origin.Remove(), origin.Close())
		}
		const ms = 300 // poll(2) for nothing: then the call ends, and the helper uses its stack
		_, err = origin.HelperUntil(time.Now().Add(50*time.Millisecond), tracee.Sys(unix.SYS_POLL, 0, 0, ms))
		if !errors.Is(err, tracee.ErrBudget) {
			o.problem("a call of %d ms ends with %v", ms, err)
		}
		return errors.Join(origin.Remove(), origin.Close())
	}); err != nil {
		o.problem("%v", err)
	}
}

// fork is the agent's part: snapshot, world, and a look at it.
func (o *outcome) fork(ctx context.Context, req request) {
	var data []string
	for _, m := range req.Members {
		data = append(data, m.Data...)
	}
	im, err := image.Prepare(ctx, filepath.Join(req.Dir, "image"), data)
	if err != nil {
		o.problem("copy: %v", err)
		return
	}
	tracer := osthread.New()
	defer tracer.Close()
	before := descriptors(req.Members)
	var snap *capture.Snapshot
	err = tracer.Do(func() (err error) {
		snap, err = capture.Take(ctx, capture.Config{Members: req.Members, MaxPause: 500 * time.Millisecond, Image: im})
		return err
	})
	if err != nil {
		o.problem("snapshot: %v", err)
		return
	}
	defer func() {
		if err := tracer.Do(snap.Close); err != nil {
			o.problem("close snapshot: %v", err)
		}
	}()
	after := descriptors(req.Members)
	o.Pause = snap.Pause
	for _, name := range []string{"trial", "control"} {
		w, err := spawn.New(ctx, tracer, snap, spawn.Config{Name: name, Dir: filepath.Join(req.Dir, name), Members: req.Members})
		if err != nil {
			o.problem("spawn: %v", err)
			return
		}
		seen := &world{Name: name, Gaps: w.Gaps, w: w, files: phantomLogs(w, req.Members)}
		o.Worlds = append(o.Worlds, seen)
		defer seen.close(o)
		for i, ph := range w.Phantoms() {
			o.compare(before[i], after[i], descriptorsOf(ph.HostPID))
		}
		time.Sleep(req.Hold / 2)
	}
	opening := spawn.Opening(o.Worlds[0].w, o.Worlds[1].w)
	for _, w := range o.Worlds {
		if err := w.w.Wake(opening); err != nil {
			o.problem("wake: %v", err)
			return
		}
	}
	for _, w := range o.Worlds {
		w.release(o)
	}
	for _, w := range o.Worlds {
		o.follow(w)
		for i, m := range req.Members {
			text, _ := os.ReadFile(w.files[i])
			w.Logs = append(w.Logs, string(text))
			text, _ = os.ReadFile(w.w.Log(m.Name))
			w.Outputs = append(w.Outputs, string(text))
		}
	}
}

func (w *world) release(o *outcome) {
	for _, log := range w.files {
		n, _ := progress(log)
		w.AtCut = append(w.AtCut, n)
	}
	if err := w.w.Release(); err != nil {
		o.problem("release %s: %v", w.Name, err)
	}
	w.WallAhead, w.ClockAhead = w.w.WallAhead, w.w.ClockAhead
	w.watch = observe.New(w.w)
}

func (w *world) close(o *outcome) {
	if err := w.w.Close(); err != nil {
		o.problem("close world %s: %v", w.Name, err)
	}
	if w.watch != nil {
		w.watch.Wait()
	}
}

func phantomLogs(w *spawn.World, members []model.Member) (out []string) {
	for _, m := range members {
		for _, r := range w.Tree.Roots {
			if r.Source == m.Data[0] {
				out = append(out, filepath.Join(r.Path, victim.Log))
			}
		}
	}
	return out
}

// follow waits until every phantom has done its rounds.
func (o *outcome) follow(w *world) {
	for i, log := range w.files {
		for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
			n, bad := progress(log)
			if n >= w.AtCut[i]+rounds || len(bad) > 3 {
				break
			}
			if time.Now().After(deadline) {
				o.problem("%s: phantom %d has done %d rounds only", w.Name, i, n-w.AtCut[i])
				break
			}
			ended := false
			for _, p := range w.watch.Processes() {
				if p.Exit != nil {
					o.problem("%s: phantom of %s ended: %+v %v", w.Name, p.Member, *p.Exit, p.Output)
					ended = true
				}
			}
			if ended {
				break
			}
		}
	}
}
