//go:build linux

package spawn

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// TestPrivAuditFDs plays a phantom that has kept a descriptor of production.
func TestPrivAuditFDs(t *testing.T) {
	testenv.Privileged(t)
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
	testenv.Privileged(t)
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

// TestPrivAuditCredentials plays phantoms that may do more than their origins.
func TestPrivAuditCredentials(t *testing.T) {
	testenv.Privileged(t)
	child := exec.Command("sleep", "60")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	dropped := osthread.New()
	defer dropped.Close()
	if err := dropped.Do(func() error { return errors.Join(sys.DropCaps(forbidden), child.Start()) }); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	pid := child.Process.Pid
	is, err := procfs.ReadStatus(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		origin func(*procfs.Status)
		want   string
	}{
		{"alike", func(*procfs.Status) {}, ""},
		{"an origin with more", func(s *procfs.Status) { s.CapEff = ^uint64(0) }, ""},
		{"effective", func(s *procfs.Status) { s.CapEff &^= 1 << unix.CAP_CHOWN }, "capabilities 0x1 "},
		{"permitted", func(s *procfs.Status) { s.CapPrm = 0 }, "has not"},
		{"bounding", func(s *procfs.Status) { s.CapBnd &^= 1 << unix.CAP_KILL }, "capabilities 0x20 "},
		{"another user", func(s *procfs.Status) { s.UIDs = []int{0, 33, 0, 0} }, "user"},
		{"another group", func(s *procfs.Status) { s.Groups = []int{33, 34} }, "groups"},
		{"nobody", func(s *procfs.Status) { s.Tgid, s.NSpid = 0, nil }, "no origin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := is
			c.origin(&origin)
			of := &capture.Process{Status: map[int]procfs.Status{origin.Tgid: origin}}
			err := auditCredentials(&phantom{process: of, lead: &tracee.Puppet{PID: pid}})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("audit says %v, want %q", err, c.want)
			}
		})
	}
	// This process has what no phantom may have, whoever has it in production.
	self, err := procfs.ReadStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	of := &capture.Process{Status: map[int]procfs.Status{}}
	tids, err := procfs.Tasks(self.Tgid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		of.Status[tid] = self
	}
	err = auditCredentials(&phantom{process: of, lead: &tracee.Puppet{PID: self.Tgid}})
	if err == nil || !strings.Contains(err.Error(), "reach out of the world") {
		t.Errorf("audit of all capabilities says %v", err)
	}
}
