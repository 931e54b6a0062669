//go:build linux

package deadlinetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"golang.org/x/sys/unix"
)

// TestPrivStopped has a member that job control has stopped. It must stay so.
func TestPrivStopped(t *testing.T) {
	s := newScene(t)
	other := s.start(t, 2, "threads", 10)
	v := s.start(t, 2, "threads", 20)
	if err := unix.Kill(v.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	v.awaitStop(t)
	other.reset(t)
	a := s.agent(t, 5, usualLimit)
	var all []outcome
	for o, ok := a.next(t); ok; o, ok = a.next(t) {
		all = append(all, o)
	}
	_ = a.cmd.Wait()
	sums := sum(all, other)
	sums.within(t, usualLimit)
	if sums.worked == 0 {
		t.Error("no snapshot worked")
	}
	a = s.agentAs(t, worldAgent, 1, usualLimit)
	w, ok := a.next(t)
	_ = a.cmd.Wait()
	if !ok || w.Err != "" {
		t.Fatalf("world: %s", w.Err)
	}
	// The other member's phantom runs, and its threads sleep.
	if got := strings.Join(w.States, " "); got != "S T S S" {
		t.Errorf("phantoms are in states %s before and after SIGCONT, want S T S S", got)
	}
	// Stopped it is, and its parent has heard of it once.
	at := v.count()
	if got := v.states(t); got != "T" {
		t.Errorf("threads are in states %s, not stopped", got)
	}
	if ws, ok := v.status(t); ok {
		t.Errorf("its parent sees wait status %#x", uint32(ws))
	}
	if v.count() != at {
		t.Error("it ran")
	}
	if err := unix.Kill(v.pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the parent hears that it goes on", func() bool {
		ws, ok := v.status(t)
		return ok && ws.Continued()
	})
	v.clean(t)
	other.clean(t)
	row(t, "a member in SIGSTOP", usualLimit, sums, "stopped before and after; went on at SIGCONT")
}

// awaitStop waits until the victim's parent hears that it is stopped.
func (v *victim) awaitStop(t *testing.T) {
	t.Helper()
	waitFor(t, "it is stopped", func() bool {
		ws, ok := v.status(t)
		return ok && ws.Stopped()
	})
}

// states lists the different states of the victim's threads.
func (v *victim) states(t *testing.T) (out string) {
	t.Helper()
	tids, err := procfs.Tasks(v.pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		st, err := procfs.ReadTaskStatus(v.pid, tid)
		if err == nil && !strings.Contains(out, st.State[:1]) {
			out += st.State[:1]
		}
	}
	return out
}

// worldAgent spawns a world and looks whether its phantoms are stopped.
const worldAgent = "world"

func world(ctx context.Context, req request) (o outcome) {
	if err := o.world(ctx, req); err != nil {
		o.Err = err.Error()
	}
	return o
}

func (o *outcome) world(ctx context.Context, req request) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "pilot-deadline-world-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var data []string
	for _, m := range req.Members {
		data = append(data, m.Data...)
	}
	im, err := image.Prepare(ctx, filepath.Join(dir, "image"), data)
	if err != nil {
		return err
	}
	tracer := osthread.New()
	defer tracer.Close()
	var snap *capture.Snapshot
	err = tracer.Do(func() (err error) {
		snap, err = capture.Take(ctx, capture.Config{Members: req.Members, MaxPause: req.MaxPause, Image: im})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = tracer.Do(snap.Close) }()
	w, err := spawn.New(ctx, tracer, snap, spawn.Config{Name: "trial", Dir: filepath.Join(dir, "trial"), Members: req.Members})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Wake(spawn.Opening(w)); err != nil {
		return err
	}
	if err := w.Release(); err != nil {
		return err
	}
	for _, signal := range []unix.Signal{0, unix.SIGCONT} {
		for _, ph := range w.Phantoms() {
			if err := unix.Kill(ph.HostPID, signal); err != nil {
				return fmt.Errorf("phantom of %s: %w", ph.Member.Name, err)
			}
			o.States = append(o.States, settled(ph.HostPID))
		}
	}
	return nil
}

// settled returns the states of a process's threads once all are alike, or as
// they are in the end.
func settled(pid int) (states string) {
	for deadline := time.Now().Add(patience / 4); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		states = ""
		tids, _ := procfs.Tasks(pid)
		for _, tid := range tids {
			st, err := procfs.ReadTaskStatus(pid, tid)
			if err == nil && !strings.Contains(states, st.State[:1]) {
				states += st.State[:1]
			}
		}
		if states == "S" || states == "T" {
			return states
		}
	}
	return states
}
