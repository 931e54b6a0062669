//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
)

// patience bounds each wait of a test.
const patience = 60 * time.Second

// kinds are the victims: what they are written in.
var kinds = []string{"c", "go", "java"}

// A victim is a running program that checks itself.
type victim struct {
	kind string
	dir  string
	cmd  *exec.Cmd
}

// starter starts the victims: one thread that never ends, since a
// parent-death signal is sent when the thread that started the child dies.
var starter = sync.OnceValue(osthread.New)

// launch starts a victim and waits until all its threads are busy.
func launch(t *testing.T, kind string) *victim {
	t.Helper()
	privileged(t)
	dir := tempDir(t)
	v := &victim{kind: kind, dir: filepath.Join(dir, "data")}
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	v.cmd = command(t, kind, dir)
	v.cmd.Args = append(v.cmd.Args, v.dir)
	log, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	v.cmd.Stdout, v.cmd.Stderr = log, log
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := starter().Do(v.cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s says: %s", kind, text)
		}
	})
	v.busy(t, nil)
	return v
}

// command builds a victim's program in dir.
func command(t *testing.T, kind, dir string) *exec.Cmd {
	t.Helper()
	build := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	program := filepath.Join(dir, "program")
	switch kind {
	case "c":
		args := []string{"cc", "-O2", "-frounding-math", "-pthread", "-o", program, "testdata/victim.c", "-lm"}
		if info, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(info), " avx2 ") {
			args = append(args, "-mavx2")
		}
		build(args...)
		return exec.Command(program)
	case "java":
		build("javac", "-nowarn", "-d", program, "testdata/Victim.java")
		// As many threads all the time, and no files in /tmp.
		return exec.Command("java", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:-UseDynamicNumberOfCompilerThreads",
			"-Xmx64m", "-Xss512k", "-cp", program, "Victim")
	default:
		return &exec.Cmd{Path: "/proc/self/exe", Args: []string{goVictimName}}
	}
}

// member is the victim as pilot is told of it.
func (v *victim) member() model.Member {
	return model.Member{Name: "victim-" + v.kind, PID: v.cmd.Process.Pid, Args: v.cmd.Args, Data: []string{v.dir}}
}

// rounds reads how many rounds each of the victim's threads has done.
func (v *victim) rounds() map[string]int64 {
	out := map[string]int64{}
	text, _ := os.ReadFile(filepath.Join(v.dir, "progress"))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[0]], _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return out
}

// seldom are counters that move only when somebody makes them.
var seldom = map[string]bool{"hangups": true, "children": true}

// busy waits until every thread of the victim has done a round since before.
func (v *victim) busy(t *testing.T, before map[string]int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		still := ""
		now := v.rounds()
		for name, n := range now {
			if n <= before[name] && !seldom[name] {
				still = name
			}
		}
		if len(now) > 0 && len(now) >= len(before) && still == "" {
			return
		}
		if wrong := v.wrong(); wrong != "" {
			t.Fatalf("victim %s: %s", v.kind, wrong)
		}
		if time.Now().After(deadline) {
			t.Fatalf("victim %s: thread %q stands still: %v", v.kind, still, now)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// wrong tells what the victim has found to be wrong with itself.
func (v *victim) wrong() string {
	text, err := os.ReadFile(filepath.Join(v.dir, "errors"))
	if err != nil && !os.IsNotExist(err) {
		return err.Error()
	}
	if len(text) > 0 {
		return string(text)
	}
	if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid)); err != nil || strings.Contains(string(state), ") Z ") {
		return "it has ended"
	}
	return ""
}
