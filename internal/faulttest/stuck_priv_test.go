//go:build linux

package faulttest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// paused are the points at which production stands still.
var paused = []fault.Point{
	fault.DeadmanArmed, fault.ThreadInterrupted, fault.ThreadsStopped, fault.ClusterPaused, fault.ForkStarted,
	fault.ThreadCaptured, fault.ThreadsCaptured, fault.DescriptorsRead, fault.SeedBorn,
	fault.SeedAdopted, fault.ClusterRead, fault.ThreadReleased, fault.ClusterReleased,
}

// TestPrivHang makes the agent hang inside the pause: the kernel must kill it
// soon after the deadline.
func TestPrivHang(t *testing.T) {
	t.Parallel()
	s := stageVictims(t, "c")
	s.pause = 100 * time.Millisecond
	for _, p := range paused {
		t.Run(p.String(), func(t *testing.T) {
			begin := time.Now()
			const hang = 10 * time.Second
			e := start(t, request{Spec: s.spec(), Dir: s.dir, Faults: []fault.Injection{{Point: p, Effect: fault.Delay, Delay: hang}}}).wait(t)
			if !slices.Contains(e.hits, p) {
				t.Fatalf("the run never came to %q: %s %s", p, e.Err, e.said)
			}
			if took := time.Since(begin); !e.killed || took >= hang {
				t.Errorf("killed %t, after %v", e.killed, took)
			}
			s.unchanged(t, "after the agent hung", true)
			s.busy(t, s.rounds())
		})
	}
	s.pause = time.Second
	s.pilot(t, "the run afterwards")
	s.unchanged(t, "at the end", false)
	s.sound(t)
}

// TestPrivHangBeside makes the comparison of files hang, as a disk can. It runs
// beside the pause: production is let go in time, and the agent lives to tell.
func TestPrivHangBeside(t *testing.T) {
	t.Parallel()
	s := stageVictims(t, "c")
	s.pause = 100 * time.Millisecond
	e := start(t, request{Spec: s.spec(), Dir: s.dir, Faults: []fault.Injection{{Point: fault.ImageFrozen, Effect: fault.Delay, Delay: 2 * time.Second}}}).wait(t)
	if e.killed || !slices.Contains(e.hits, fault.ImageFrozen) || !strings.Contains(e.Err, "compare files: time allowed for the pause is used up") {
		t.Errorf("killed %t: %s %s", e.killed, e.Err, e.said)
	}
	s.unchanged(t, "after the disk hung", true)
	s.busy(t, s.rounds())
	s.sound(t)
}

// TestPrivOriginEnds ends production while its fork runs. Its parent must learn
// of that at once, not when the run is over.
func TestPrivOriginEnds(t *testing.T) {
	t.Parallel()
	v := launch(t, "c")
	s := &scene{members: []model.Member{v.member()}, dir: filepath.Join(tempDir(t), "run"), pause: time.Second}
	const run = 20 * time.Second
	r := start(t, request{Spec: s.spec(), Dir: s.dir, Faults: []fault.Injection{{Point: fault.ActionRun, Effect: fault.Delay, Delay: run}}})
	defer r.kill()
	reached(t, r, fault.ActionRun)
	begin := time.Now()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = v.cmd.Wait() // its exit status is that of the signal
	if took := time.Since(begin); took > run/2 {
		t.Errorf("the parent of production learnt of its end after %v", took)
	}
	r.kill()
	r.wait(t)
}
