//go:build linux

package limittest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// TestPrivBounded: an action that does nothing passes, and is in the group.
func TestPrivBounded(t *testing.T) {
	s := stage(t, "hungry", "cat /proc/self/cgroup /proc/$PID/cgroup /proc/1/cgroup; cat /proc/$PID/oom_score_adj /proc/1/oom_score_adj", here)
	got := s.agent(t, order{})
	if got.Report == nil || got.Report.Verdict.Status != model.Pass {
		t.Fatalf("%+v", got)
	}
	if !strings.HasPrefix(got.Report.Confinement, "cgroup v") {
		t.Skip("no control group here: ", got.Report.Confinement)
	}
	var inside, outside int
	for line := range strings.Lines(got.Report.Trial.Action.Output) {
		switch {
		case strings.Contains(line, ":memory:") || strings.Contains(line, ":pids:") || strings.HasPrefix(line, "0::/pilot-"):
			if strings.HasSuffix(line, "/trial\n") {
				inside++
			} else {
				outside++
			}
		}
	}
	if inside < 3 || outside > 0 {
		t.Errorf("groups of the action, a phantom and the world's init:\n%s", got.Report.Trial.Action.Output)
	}
	if n := strings.Count(got.Report.Trial.Action.Output, "1000\n"); n != 2 {
		t.Errorf("oom_score_adj is not 1000 twice:\n%s", got.Report.Trial.Action.Output)
	}
	if use := got.Report.Trial.Use; use.Memory == 0 {
		t.Errorf("use %+v", use)
	}
}

// TestPrivMemory: a phantom that takes memory without end is killed in its world.
func TestPrivMemory(t *testing.T) {
	s := stage(t, "hungry", "touch $DATA/go; sleep 30", here)
	got := s.unknown(t, order{}, "the trial world was ended: it took more memory than 160 MiB")
	if got.Report.Control.Ended != "" {
		t.Errorf("the control was ended, too: %s", got.Report.Control.Ended)
	}
	// Some pages are charged before the kernel finds that they are too many.
	if took := got.Report.Trial.Use.Memory; took > 161<<20 {
		t.Errorf("it took %d bytes", took)
	}
}

// TestPrivDisk: a phantom that writes without end is ended, wherever it writes.
func TestPrivDisk(t *testing.T) {
	for _, c := range []struct{ to, reason string }{
		{"$DATA/big", "it wrote "},
		{"$DATA/big-nameless", "it wrote "},
		{"/dev/shm/big", "/dev/shm"},
		{"/tmp/big", "/tmp"},
		{"/var/tmp/big", "/var/tmp"},
	} {
		t.Run(filepath.Base(filepath.Dir(c.to))+"-"+filepath.Base(c.to), func(t *testing.T) {
			s := stage(t, "writer", "echo "+c.to+" > $DATA/go; sleep 30", here)
			got := s.unknown(t, order{}, "the trial world was ended: it ")
			r := got.Report
			if !strings.Contains(r.Trial.Ended, c.reason) && !strings.Contains(r.Trial.Ended, "it wrote ") {
				t.Errorf("ended because %s, want %q", r.Trial.Ended, c.reason)
			}
			// What is written between two looks comes on top.
			if wrote := r.Trial.Use.Written; wrote < 60<<20 || wrote > 4<<30 {
				t.Errorf("it wrote %d bytes", wrote)
			}
			if r.Control.Ended != "" || r.Control.Use.Written > 8<<20 {
				t.Errorf("the control: %q, %+v", r.Control.Ended, r.Control.Use)
			}
		})
	}
}

// TestPrivPressure: when the host waits for memory, the worlds are ended.
func TestPrivPressure(t *testing.T) {
	for _, phase := range []string{"act", "copy", "settle"} {
		t.Run(phase, func(t *testing.T) {
			action := "sleep 30"
			if phase == "settle" {
				action = "true"
			}
			s := stage(t, "hungry", action, here)
			s.spec.Settle = 20 * time.Second
			began := time.Now()
			got := s.unknown(t, order{Stall: phase}, "the worlds were ended to protect production: memory pressure, all tasks of the host waited for memory in ")
			if phase != "copy" {
				t.Logf("ended %v after the host began to stall", time.Since(got.Phases[phase]).Round(time.Millisecond))
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestPrivShort: want of memory ends a run in whatever phase, also before there
// is a world.
func TestPrivShort(t *testing.T) {
	for _, phase := range []string{"copy", "snapshot", "spawn", "act"} {
		t.Run(phase, func(t *testing.T) {
			s := stage(t, "hungry", "sleep 30", here)
			got := s.unknown(t, order{Short: phase}, "the worlds were ended to protect production: memory is short, 100 MiB are available on the host (limit 512 MiB)")
			if paused := got.Report.Pause.Total > 0; paused != (phase == "spawn" || phase == "act") {
				t.Errorf("pause %v", got.Report.Pause.Total)
			}
		})
	}
}

// TestPrivLittleMemory: a host without room is told so before anything is done.
func TestPrivLittleMemory(t *testing.T) {
	s := stage(t, "hungry", "true", here)
	got := s.agent(t, order{Available: 520 << 20})
	if !got.Refused || !strings.Contains(got.Err, "520 MiB are available") || !got.Phases["snapshot"].IsZero() {
		t.Errorf("%+v", got)
	}
	s.spec.Limits.MaxMemory = 8 << 20
	if got := s.agent(t, order{}); !got.Refused || !strings.Contains(got.Err, "a world may take 8 MiB, and may need ") {
		t.Errorf("%+v", got)
	}
	s.spec.Limits = model.Limits{MaxDisk: 40 << 30}
	if got := s.agent(t, order{}); !got.Refused || !strings.Contains(got.Err, "51200 MiB") && !strings.Contains(got.Err, "50.0 GiB are free") {
		t.Errorf("%+v", got)
	}
}

// TestPrivFailure: a run that fails leaves no group.
func TestPrivFailure(t *testing.T) {
	s := stage(t, "hungry", "true", here)
	s.spec.MaxPause = time.Nanosecond
	if got := s.agent(t, order{}); got.Err == "" || got.Refused {
		t.Errorf("%+v", got)
	}
}

// TestPrivAgentKilled: what a dead agent has left is swept, and its processes
// have died with it.
func TestPrivAgentKilled(t *testing.T) {
	s := stage(t, "hungry", "sleep 60", here)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd, _ := s.command(ctx, t, order{})
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		running, _ := filepath.Glob(filepath.Join(s.work(), "worlds/trial/output/command-action*"))
		if len(running) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the action does not start")
		}
	}
	if len(s.groups()) == 0 {
		t.Error("a run goes on without groups")
	}
	cancel() // SIGKILL
	_ = cmd.Wait()
	got := s.agent(t, order{Sweep: true})
	if got.Err != "" || !strings.Contains(strings.Join(got.Swept, " "), filepath.Base(s.dir)) {
		t.Errorf("swept %v, %s", got.Swept, got.Err)
	}
}

// withoutGroups hides the control groups of the host from a scene.
func withoutGroups() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return errors.Join(
		os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")),
		os.NewSyscallError("umount", unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)))
}

// TestPrivNoGroups: without groups there is something left, and the report says
// what.
func TestPrivNoGroups(t *testing.T) {
	s := stage(t, "hungry", "touch $DATA/go; sleep 3; grep bad $DATA/log; grep data /proc/$PID/limits; cat /proc/$PID/oom_score_adj; nice; cut -d' ' -f19 /proc/$PID/stat", withoutGroups)
	got := s.agent(t, order{})
	r := got.Report
	if r == nil || !strings.HasPrefix(r.Confinement, "no cgroup: only oom_score_adj, nice and rlimits; missing: cpu (not mounted, or read-only)") {
		t.Fatalf("%+v", got)
	}
	output := r.Trial.Action.Output
	if !strings.Contains(output, "mmap: cannot allocate memory") || !strings.HasSuffix(output, "\n1000\n19\n19\n") {
		t.Errorf("no end of memory, or not the lowest priority:\n%s", output)
	}
}

// TestPrivProcessor: phantoms that keep all processors busy take little from
// their origin, which does so as well.
func TestPrivProcessor(t *testing.T) {
	s := stage(t, "spinner", "cat $DATA/log; sleep 2; cat $DATA/log", here)
	alone := time.Now()
	time.Sleep(3 * time.Second) // a measurement
	s.spec.Settle = 0
	got := s.agent(t, order{})
	if got.Report == nil {
		t.Fatal(got.Err)
	}
	output := got.Report.Trial.Action.Output
	half := strings.LastIndex(output, "\nok 0 ")
	if half < 0 {
		t.Fatalf("the log of the phantom is missing: %.200q", output)
	}
	// From the last line that it had at first, to the last that it had then.
	from, to := last(output[:half+1]), last(output)
	if to.at.Sub(from.at) < 1500*time.Millisecond {
		t.Fatalf("too short: %v to %v", from, to)
	}
	text, err := os.ReadFile(filepath.Join(s.data, victim.Log))
	if err != nil {
		t.Fatal(err)
	}
	phantom := to.rate(from)
	with := at(string(text), to.at).rate(at(string(text), from.at))
	without := at(string(text), alone.Add(3*time.Second)).rate(at(string(text), alone))
	t.Logf("turns a second: production alone %.0f, beside two worlds %.0f (%.1f%%), one world %.0f (%.1f%% of production's)",
		without, with, 100*with/without, phantom, 100*phantom/with)
	if phantom > with/5 {
		t.Errorf("a phantom does %.0f turns a second, and production beside it %.0f", phantom, with)
	}
}

// A turn is a line of a spinner's log.
type turn struct {
	count float64
	at    time.Time
}

func (t turn) rate(since turn) float64 { return (t.count - since.count) / t.at.Sub(since.at).Seconds() }

func parse(line string) (t turn, ok bool) {
	var n int
	var nano int64
	got, _ := fmt.Sscanf(line, "ok %d %g %d", &n, &t.count, &nano)
	t.at = time.Unix(0, nano)
	return t, got == 3
}

// last is the last whole line of a log.
func last(log string) (t turn) { return at(log, time.Now()) }

// at is the last line of a log before a moment.
func at(log string, before time.Time) (found turn) {
	for line := range strings.Lines(log) {
		if t, ok := parse(line); ok && strings.HasSuffix(line, "\n") && t.at.Before(before) {
			found = t
		}
	}
	return found
}
