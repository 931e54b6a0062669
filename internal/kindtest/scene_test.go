//go:build linux

package kindtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
)

// rounds is how many rounds a victim must do before the fork, and both sides
// after it.
const rounds = 25

// A member is one victim of a test.
type member struct {
	kind    string
	files   []*os.File                       // its descriptors 3 and up
	stdout  *os.File                         // /dev/null when nil
	prepare func(s *scene, dir string) error // before it starts
}

// A scene is the victims of one test in a network namespace of their own.
type scene struct {
	dir     string
	space   *osthread.Thread
	members []model.Member
	logs    []string
}

// stage starts the victims and waits until they are busy.
func stage(t *testing.T, members ...member) *scene {
	t.Helper()
	return newScene(t).play(t, members...)
}

func newScene(t *testing.T) *scene {
	t.Helper()
	testenv.Privileged(t)
	return &scene{dir: testenv.Dir(t, "kind"), space: testenv.Space(t)}
}

func (s *scene) play(t *testing.T, members ...member) *scene {
	t.Helper()
	for i, m := range members {
		s.start(t, i, m)
	}
	for i, log := range s.logs {
		testenv.WaitFor(t, fmt.Sprintf("%s is busy", members[i].kind), func() bool {
			if n, bad := progress(log); len(bad) > 0 || n >= rounds {
				return true
			}
			return false
		})
	}
	return s
}

func (s *scene) start(t *testing.T, i int, m member) {
	t.Helper()
	data := filepath.Join(s.dir, fmt.Sprintf("m%d", i))
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if m.prepare != nil {
		if err := m.prepare(s, data); err != nil {
			t.Fatal(err)
		}
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{victim.Name, m.kind, data}, ExtraFiles: m.files}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	errors, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("stderr%d", i)))
	if err != nil {
		t.Fatal(err)
	}
	defer errors.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, errors
	if m.stdout != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = m.stdout, m.stdout, m.stdout
	}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.files {
		_ = f.Close()
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(errors.Name()); err == nil && len(text) > 0 {
			t.Logf("%s says: %s", m.kind, text)
		}
	})
	s.members = append(s.members, model.Member{
		Name: m.kind, PID: cmd.Process.Pid, Args: cmd.Args, Data: []string{data},
	})
	s.logs = append(s.logs, filepath.Join(data, victim.Log))
}

// progress reads how far a victim has got, see [testenv.Rounds].
func progress(path string) (n int, bad []string) {
	text, _ := os.ReadFile(path)
	return testenv.Rounds(string(text))
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
