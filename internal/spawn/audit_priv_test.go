//go:build linux

package spawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// privileged skips t without root, and fails it where it must run.
func privileged(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "":
		t.Fatal("privileged test cannot run: not root")
	default:
		t.Skip("needs root")
	}
}

// TestPrivAuditFDs plays a phantom that has kept a descriptor of production.
func TestPrivAuditFDs(t *testing.T) {
	privileged(t)
	shared, err := os.Create(filepath.Join(t.TempDir(), "shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(shared.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	theirs := &estate{open: map[inode][]holding{{st.Dev, st.Ino}: {{os.Getpid(), int(shared.Fd())}}}}

	again, err := os.Open(shared.Name()) // the same file, but another description
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, c := range []struct {
		give *os.File
		want string
	}{{shared, "fd 3 is fd"}, {again, ""}} {
		child := exec.Command("sleep", "60")
		child.ExtraFiles = []*os.File{c.give}
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		err := auditFDs(child.Process.Pid, theirs)
		_ = child.Process.Kill()
		_ = child.Wait()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("audit says %v, want %q", err, c.want)
		}
	}
}

// TestPrivAuditMaps plays a phantom that can write to a file of production
// through a mapping.
func TestPrivAuditMaps(t *testing.T) {
	privileged(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	vmas, err := procfs.Maps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	theirs := &estate{mapped: map[inode]bool{}}
	if err := auditMaps(os.Getpid(), theirs); err != nil {
		t.Errorf("audit of own mappings: %v", err)
	}
	for _, v := range vmas {
		if v.Path == f.Name() {
			theirs.mapped[inode{v.Dev, v.Inode}] = true
		}
	}
	if len(theirs.mapped) == 0 {
		t.Fatal("the mapping is not listed")
	}
	if err := auditMaps(os.Getpid(), theirs); err == nil {
		t.Error("the audit did not see a mapping shared with production")
	}
}
