//go:build linux

package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivAuditBounds plays a phantom that was left in production's group.
func TestPrivAuditBounds(t *testing.T) {
	testenv.Privileged(t)
	hierarchies, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	run, err := cgroup.New(hierarchies, fmt.Sprintf("audit-%d", os.Getpid()), cgroup.Limits{CPUWeight: 2, PIDs: 100, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := run.Close(); err != nil {
			t.Error(err)
		}
	}()
	if run.Means() == "" {
		t.Skip("no control group here: ", run.Missing)
	}
	group, err := run.Group("trial", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	w := &World{confine: group}
	if err := w.auditBounds(child.Process.Pid); err == nil || !strings.Contains(err.Error(), "is not in the group") {
		t.Errorf("the audit of a process in production's group says %v", err)
	}
	if err := w.add(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := w.auditBounds(child.Process.Pid); err != nil {
		t.Errorf("the audit of one in the world's says %v", err)
	}
}

// TestPrivAuditPriority plays a phantom that goes before production.
func TestPrivAuditPriority(t *testing.T) {
	testenv.Privileged(t)
	child := exec.Command("sleep", "60")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	pid := child.Process.Pid
	if err := auditPriority(pid); err != nil {
		t.Errorf("an ordinary process: %v", err)
	}
	if err := sys.RealtimeKin(pid, 1); err != nil {
		t.Fatal(err)
	}
	if err := auditPriority(pid); err == nil || !strings.Contains(err.Error(), "real-time priority") {
		t.Errorf("the audit of a process with real-time priority says %v", err)
	}
	if err := sys.Realtime(pid, 0); err != nil {
		t.Fatal(err)
	}
	if err := auditPriority(pid); err != nil {
		t.Errorf("an ordinary process again: %v", err)
	}
}

// TestMeter counts what grows: files, links once, and files without a name.
func TestMeter(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) *os.File {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if _, err := f.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil { // blocks are allocated late
			t.Fatal(err)
		}
		return f
	}
	old := write("old", 1<<20)
	m := &Meter{dirs: []string{dir}, phantoms: []int{os.Getpid()}}
	var err error
	if m.base, err = m.taken(nil); err != nil || m.base < 1<<20 {
		t.Fatalf("base %d, %v", m.base, err)
	}
	near := func(what string, want int64) {
		t.Helper()
		if got, err := m.Written(nil); err != nil || got < want || got > want+256<<10 {
			t.Errorf("%s: %d bytes, %v, want %d", what, got, err, want)
		}
	}
	near("nothing", 0)
	write("new", 2<<20)
	near("a file", 2<<20)
	if err := os.Link(filepath.Join(dir, "new"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	near("a link", 2<<20)
	write("nameless", 3<<20)
	if err := os.Remove(filepath.Join(dir, "nameless")); err != nil {
		t.Fatal(err)
	}
	near("a file without a name", 5<<20)
	_ = old.Close()
	if err := os.Remove(old.Name()); err != nil {
		t.Fatal(err)
	}
	near("less", 4<<20)
}
