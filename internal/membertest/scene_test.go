//go:build linux

package membertest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"github.com/pilotexec/pilot/internal/worldinit"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	agent.Reexec()
	switch filepath.Base(os.Args[0]) {
	case victim.Name:
		victim.Main()
	case victim.HoldName:
		victim.Hold()
	case victim.LaunchName:
		victim.Launch()
	case agentName:
		agentMain()
	default:
		testenv.Main(m)
	}
}

// rounds is how many rounds a victim must do before the fork, and both sides after
// it.
const rounds = 20

// A member is one victim of a test.
type member struct {
	kind string
	id   victim.Identity
}

// A scene is the victims of one test in a network namespace of their own.
type scene struct {
	dir     string
	binary  string // this program, readable by everybody
	space   *osthread.Thread
	members []model.Member
	logs    []string
	one     int // number 1 of the container that they are in
}

// stage starts the victims and waits until they are busy.
func stage(t *testing.T, members ...member) *scene {
	t.Helper()
	s := empty(t)
	for i, m := range members {
		s.start(t, i, m)
	}
	s.wantBusy(t)
	return s
}

// empty is a scene without victims.
func empty(t *testing.T) *scene {
	t.Helper()
	testenv.Privileged(t)
	dir := testenv.Dir(t, "member")
	s := &scene{dir: dir, binary: filepath.Join(dir, "victim"), space: testenv.Space(t)}
	t.Cleanup(func() { // when all members have been killed
		for _, place := range victim.MemberPlaces {
			// A directory with this prefix is a scene's own.
			left, _ := filepath.Glob(filepath.Join(place, victim.MemberPrefix+"[0-9]*"))
			for _, file := range left {
				_ = syscall.Unlink(file)
			}
		}
	})
	if err := copyProgram(s.binary); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// wantBusy waits until the victims are.
func (s *scene) wantBusy(t *testing.T) {
	t.Helper()
	for _, log := range s.logs {
		testenv.WaitFor(t, log+" grows", func() bool {
			n, bad := progress(log)
			return len(bad) > 0 || n >= rounds
		})
		if _, bad := progress(log); len(bad) > 0 {
			t.Fatalf("%s: %s", log, bad[0])
		}
	}
}

// copyProgram puts this program where every user can execute it.
func copyProgram(to string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func (s *scene) start(t *testing.T, i int, m member) {
	t.Helper()
	data := filepath.Join(s.dir, fmt.Sprintf("m%d", i))
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, m.id.UID, m.id.GID); err != nil {
		t.Fatal(err)
	}
	id, err := json.Marshal(m.id)
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("output%d", i)))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	if err := output.Chown(m.id.UID, m.id.GID); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{
		Path: s.binary, Args: []string{victim.LaunchName, string(id), m.kind, data},
		Stdout: output, Stderr: output, Dir: "/",
	}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(output.Name()); err == nil && len(text) > 0 {
			t.Logf("%s says: %s", m.kind, text)
		}
	})
	s.members = append(s.members, model.Member{
		Name: fmt.Sprintf("%s%d", m.kind, i), PID: cmd.Process.Pid, Args: []string{victim.Name, m.kind}, Data: []string{data},
	})
	// As the victim sees it, which may have mounts of its own.
	s.logs = append(s.logs, fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, filepath.Join(data, victim.Log)))
}

// progress is [testenv.Rounds] of a log on disk.
func progress(path string) (n int, bad []string) {
	text, _ := os.ReadFile(path)
	return testenv.Rounds(string(text))
}

// agent has the agent do req in the scene's network.
func (s *scene) agent(t *testing.T, req request) (o outcome) {
	t.Helper()
	req.Members, req.Dir = s.members, filepath.Join(s.dir, "fork")
	if err := os.RemoveAll(req.Dir); err != nil { // what another request has left
		t.Fatal(err)
	}
	testenv.Ask(t, s.space, agentName, req, &o)
	return o
}

// fork forks the victims and wants both sides to go on correctly.
func (s *scene) fork(t *testing.T) outcome {
	t.Helper()
	return s.forkBy(t, request{})
}

func (s *scene) forkBy(t *testing.T, req request) outcome {
	t.Helper()
	o := s.agent(t, req)
	for _, p := range o.Problems {
		t.Error(p)
	}
	s.wantAlive(t)
	t.Logf("pause %v, %d threads", o.Pause.Total, o.Pause.Threads)
	return o
}

// wantAlive wants production to go on without an error.
func (s *scene) wantAlive(t *testing.T) {
	t.Helper()
	for i, log := range s.logs {
		name := "number 1"
		if i < len(s.members) {
			name = s.members[i].Name
		}
		now, _ := progress(log)
		testenv.WaitFor(t, "origin "+name+" goes on", func() bool {
			n, bad := progress(log)
			return n >= now+rounds || len(bad) > 0
		})
		if n, bad := progress(log); len(bad) > 0 {
			t.Errorf("origin %s: %d of %d rounds went wrong, first %q", name, len(bad), n, bad[0])
		}
	}
}
