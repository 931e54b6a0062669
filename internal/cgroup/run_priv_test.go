//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
	"golang.org/x/sys/unix"
)

// found returns this machine's hierarchies, and skips t where there are none.
func found(t *testing.T) []Hierarchy {
	t.Helper()
	testenv.Privileged(t)
	hs, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if len(hs) == 0 {
		t.Skip("no control group can be written to here")
	}
	return hs
}

func name(t *testing.T) string {
	return fmt.Sprintf("test-%s-%d", strings.ToLower(t.Name()), os.Getpid())
}

// sleeper is a process that does nothing until the test ends.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	return cmd
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// left lists what is left of a run's groups.
func left(hs []Hierarchy, name string) (out []string) {
	for _, h := range hs {
		dirs, _ := filepath.Glob(filepath.Join(h.Point, Prefix+name+"*"))
		out = append(out, dirs...)
	}
	return out
}

func newRun(t *testing.T, hs []Hierarchy, l Limits) *Run {
	t.Helper()
	r, err := New(hs, name(t), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if got := left(hs, name(t)); len(got) > 0 {
			t.Errorf("left behind: %v", got)
		}
	})
	if r.Means() == "" {
		t.Skipf("no controller is to be had: %v", r.Missing)
	}
	return r
}

func TestPrivRun(t *testing.T) {
	hs := found(t)
	r := newRun(t, hs, Limits{Memory: 512 << 20, PIDs: 1000, CPUWeight: 2})
	t.Logf("%s; missing %v", r.Means(), r.Missing)
	g, err := r.Group("trial", Limits{Memory: 32 << 20, PIDs: 100})
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Group("control", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	pid := sleeper(t).Process.Pid
	before, err := procfs.Memberships(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Holds([]int{pid}); err == nil {
		t.Error("a process that was not moved is held")
	}
	if err := g.Add(pid); err != nil {
		t.Fatal(err)
	}
	if err := g.Holds([]int{pid}); err != nil {
		t.Error(err)
	}
	if err := other.Holds([]int{pid}); err == nil {
		t.Error("a process of the trial is in the control, too")
	}
	if got, err := g.Processes(); err != nil || !slices.Equal(got, []int{pid}) {
		t.Errorf("processes %v, %v", got, err)
	}
	after, err := procfs.Memberships(pid)
	if err != nil || len(after) != len(before) {
		t.Fatal(after, err)
	}
	moved := 0
	for i := range after {
		if after[i].Path != before[i].Path {
			moved++
			if want := "/" + Prefix + name(t) + "/trial"; after[i].Path != want {
				t.Errorf("%v: in %s, want %s", after[i].Controllers, after[i].Path, want)
			}
		}
	}
	if moved != len(r.places) {
		t.Errorf("moved in %d hierarchies, want %d", moved, len(r.places))
	}
	if _, err := New(hs, name(t), Limits{}); !errors.Is(err, errLocked) {
		t.Errorf("the groups of a living process are given away: %v", err)
	}
	if erased, err := Sweep(hs); err != nil || slices.ContainsFunc(erased, func(dir string) bool { return strings.Contains(dir, name(t)) }) {
		t.Errorf("the groups of a living process are swept: %v, %v", erased, err)
	}
}

// TestPrivMemoryLimit lets the kernel kill a process that takes more memory
// than its group may.
func TestPrivMemoryLimit(t *testing.T) {
	r := newRun(t, found(t), Limits{Memory: 512 << 20})
	if !r.Has("memory") {
		t.Skip("no memory controller: ", r.Missing)
	}
	g, err := r.Group("greedy", Limits{Memory: 24 << 20})
	if err != nil {
		t.Fatal(err)
	}
	// It is moved while it waits for its input.
	cmd := exec.Command("sh", "-c", "read go; exec dd if=/dev/zero of=/dev/null bs=200M count=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer end(cmd)
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v, want SIGKILL", err)
	}
	u, err := g.Usage()
	if err != nil || u.OOMKills != 1 || u.Peak > 24<<20 || u.Peak < 16<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// TestPrivSweep plays an agent that has died: it leaves a group, with a process
// in it.
func TestPrivSweep(t *testing.T) {
	hs := found(t)
	testSweep(t, hs, newRun(t, hs, Limits{CPUWeight: 2, PIDs: 100, Memory: 64 << 20}))
}

// TestPrivUnified does the same in a version 2 hierarchy whose interesting
// controllers are taken by version 1: with any other.
func TestPrivUnified(t *testing.T) {
	testenv.Privileged(t)
	mounts, err := procfs.Mountinfo(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(mounts, func(m procfs.Mount) bool { return m.FSType == "cgroup2" && !m.ReadOnly() })
	if i < 0 {
		t.Skip("version 2 is not mounted")
	}
	has := strings.Fields(content(t, filepath.Join(mounts[i].Point, "cgroup.controllers")))
	if len(has) == 0 {
		t.Skip("version 2 has no controller")
	}
	hs := []Hierarchy{{2, mounts[i].Point, mounts[i].Root, has[len(has)-1:]}}
	r := newRun(t, hs, Limits{})
	if r.Means() != "cgroup v2 ("+has[len(has)-1]+")" {
		t.Errorf("means %q, missing %v", r.Means(), r.Missing)
	}
	testSweep(t, hs, r)
}

func testSweep(t *testing.T, hs []Hierarchy, r *Run) {
	t.Helper()
	g, err := r.Group("trial", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := sleeper(t)
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := g.Holds([]int{cmd.Process.Pid}); err != nil {
		t.Error(err)
	}
	var want []string
	for _, p := range r.places {
		want = append(want, p.dir)
		_ = p.lock.Close() // as death does
	}
	erased, err := Sweep(hs)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range want {
		if !slices.Contains(erased, dir) {
			t.Errorf("%s was not swept, but %v", dir, erased)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	if got := left(hs, name(t)); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestPrivDrop removes one group of two, after which another may have its name.
func TestPrivDrop(t *testing.T) {
	r := newRun(t, found(t), Limits{PIDs: 1000, CPUWeight: 2})
	group := func(name string) *Group {
		t.Helper()
		g, err := r.Group(name, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	trial, control := group("trial"), group("control")
	if err := r.Drop(trial); err != nil {
		t.Fatal(err)
	}
	if len(r.groups) != 1 || r.groups[0] != control {
		t.Errorf("groups %v", r.groups)
	}
	if err := group("trial").Add(sleeper(t).Process.Pid); err != nil {
		t.Error(err)
	}
	if _, err := control.Processes(); err != nil {
		t.Errorf("the other group: %v", err)
	}
}

// TestPrivHurry gives a process real-time priority in a hurried group, and wants
// the group to notice where it still has it.
func TestPrivHurry(t *testing.T) {
	r := newRun(t, found(t), Limits{CPUWeight: 2})
	g, err := r.Group("trial", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	pid := sleeper(t).Process.Pid
	if err := g.Add(pid); err != nil {
		t.Fatal(err)
	}
	fifo := func() error {
		return unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}
	decides := fifo() != nil // the kernel gives each group a share
	if err := g.Calm(); decides && err != nil {
		t.Errorf("calm before: %v", err)
	}
	r.Hurry()
	g.Hurry()
	if err := fifo(); err != nil {
		t.Fatalf("no real-time priority in a hurried group: %v", err)
	}
	if err := g.Calm(); decides && err == nil {
		t.Error("a process keeps its real-time priority, and nobody says so")
	}
	if err := unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Calm(), r.Calm()); err != nil {
		t.Errorf("calm: %v", err)
	}
	if decides && fifo() == nil {
		t.Error("real-time priority in a group that was calmed")
	}
}
