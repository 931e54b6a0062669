//go:build linux

package kindtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/victim"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rounds is how many rounds a victim must do before the fork, and both sides
// after it.
const rounds = 25

// patience bounds each wait.
const patience = 15 * time.Second

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
	privileged(t)
	dir, err := os.MkdirTemp("/var/tmp", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{dir: dir, space: osthread.New()}
	t.Cleanup(s.space.Close)
	if err := s.space.Do(newNetwork); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) play(t *testing.T, members ...member) *scene {
	t.Helper()
	for i, m := range members {
		s.start(t, i, m)
	}
	for i, log := range s.logs {
		waitFor(t, fmt.Sprintf("%s is busy", members[i].kind), func() bool {
			if n, bad := progress(log); len(bad) > 0 || n >= rounds {
				return true
			}
			return false
		})
	}
	return s
}

// newNetwork gives the calling thread, and what is started on it, a network of
// its own with a loopback device.
func newNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
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

// waitFor waits until done, or fails the test.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// progress counts the complete lines of a victim's log, and returns those that
// tell of a defect. Rounds are numbered without a gap.
func progress(path string) (n int, bad []string) {
	text, _ := os.ReadFile(path)
	return scan(string(text))
}

func scan(text string) (n int, bad []string) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "ok "+strconv.Itoa(n)+" ") {
			bad = append(bad, line)
		}
		n++
	}
	return n, bad
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
