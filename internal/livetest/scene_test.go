//go:build linux

package livetest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/tracee"
	"github.com/pilotexec/pilot/internal/victim"
)

func TestMain(m *testing.M) {
	if os.Args[0] == victim.Name {
		victim.Main()
		return
	}
	testenv.Main(m)
}

// A scene is a victim, and pilot beside it.
type scene struct {
	dir    string
	data   string // of the victim, with a file "kept"
	pid    int    // of the victim
	binary string
	space  *osthread.Thread
}

const kept = "production's\n"

// here and apart are the two ways in which a run is carried out: by pilot itself,
// and by a process of its in the mounts of the members, see agent/enter.go.
const here, apart = 0, syscall.CLONE_NEWNS

// both runs a test in both ways.
func both(t *testing.T, test func(*testing.T, *scene)) {
	t.Run("here", func(t *testing.T) { test(t, stage(t, here)) })
	t.Run("apart", func(t *testing.T) { test(t, stage(t, apart)) })
}

// stage starts a victim in new namespaces, and waits until it is busy.
func stage(t *testing.T, namespaces uintptr) *scene {
	t.Helper()
	testenv.Privileged(t)
	dir := testenv.Dir(t, "live")
	s := &scene{dir: dir, data: filepath.Join(dir, "data"), binary: filepath.Join(dir, "pilot"), space: testenv.Space(t)}
	out, err := exec.Command("go", "build", "-o", s.binary, "github.com/pilotexec/pilot/cmd/pilot").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.Mkdir(s.data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.kept(), []byte(kept), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{victim.Name, "file", s.data}, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Cloneflags: namespaces}}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.pid = cmd.Process.Pid
	s.goesOn(t)
	return s
}

func (s *scene) kept() string { return filepath.Join(s.data, "kept") }

// goesOn wants production to go on, to be well, and to have what it had.
func (s *scene) goesOn(t *testing.T) {
	t.Helper()
	testenv.GoesOn(t, filepath.Join(s.data, victim.Log), 10)
	if text, err := os.ReadFile(s.kept()); err != nil || string(text) != kept {
		t.Errorf("production's file has %q (%v)", text, err)
	}
}

// members are the flags that name the victim.
func (s *scene) members(command string, args ...string) []string {
	return append([]string{command, "--pid", strconv.Itoa(s.pid), "--data", s.data}, args...)
}

// command is pilot, to be started on the scene's thread.
func (s *scene) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.binary, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(s.dir, "state"), "SHELL=/bin/bash", "TERM=dumb", "GOTRACEBACK=none")
	return cmd
}

// pilot runs a command, and wants it to end with a status.
func (s *scene) pilot(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := s.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("pilot %q: exit status %d, want %d\n%s%s", args, got, want, &stdout, &stderr)
	}
	return stdout.String()
}

// status asks the one run that goes on, and returns nothing while it cannot be.
func (s *scene) status(t *testing.T) (st live.Status, ok bool) {
	t.Helper()
	cmd := s.command("status", "-o", "json")
	out, err := cmd.Output()
	if err != nil {
		return st, false
	}
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatalf("status %q: %v", out, err)
	}
	return st, true
}

// until waits for a status.
func (s *scene) until(t *testing.T, what string, is func(live.Status) bool) (st live.Status) {
	t.Helper()
	testenv.WaitFor(t, what, func() bool {
		var ok bool
		st, ok = s.status(t)
		return ok && is(st)
	})
	return st
}

// waits returns what a status waits for, in one word.
func waits(st live.Status) string {
	if len(st.Waits) != 1 {
		return ""
	}
	return st.Waits[0].For
}

// report is that of the latest run.
func (s *scene) report(t *testing.T) (r model.Report) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.pilot(t, 0, "report", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Leftovers) > 0 {
		t.Errorf("left behind: %v", r.Leftovers)
	}
	return r
}

// nothingLeft wants no process, file or memory of runs to be left.
func (s *scene) nothingLeft(t *testing.T) {
	t.Helper()
	if got := s.processes(); len(got) > 0 {
		t.Errorf("left behind: %q", got)
	}
	for _, pattern := range []string{"control", "work"} {
		if left, _ := filepath.Glob(filepath.Join(s.dir, "state", "pilot", "runs", "*", pattern)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if tracee.Left(s.pid) {
		t.Error("left behind: memory in the victim")
	}
	for _, pattern := range []string{"/sys/fs/cgroup/pilot-*", "/sys/fs/cgroup/*/pilot-*"} {
		dirs, _ := filepath.Glob(pattern)
		for _, dir := range dirs {
			for _, id := range s.runs() {
				if bytes.Contains([]byte(dir), []byte(id)) {
					t.Errorf("left behind: %s", dir)
				}
			}
		}
	}
}

// runs lists the directories of runs.
func (s *scene) runs() (names []string) {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "state", "pilot", "runs"))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processes lists those that are pilot, or name the scene: worlds, and who carries
// a run out elsewhere, who has its own work to end when pilot has died.
func (s *scene) processes() (out []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(file), "exe"))
		if err == nil && (exe == s.binary || bytes.Contains(text, []byte(filepath.Join(s.dir, "state")))) {
			out = append(out, string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
		}
	}
	return out
}

// ended waits for a process to end.
func ended(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * testenv.Patience):
		_ = cmd.Process.Kill()
		<-done
		t.Fatalf("%q did not end", cmd.Args)
	}
}
