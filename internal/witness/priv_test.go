//go:build linux

package witness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivApart has a process with mounts of its own, where another file system
// lies over the data of a member that is down, as in a world: that it writes there
// brings nobody up.
func TestPrivApart(t *testing.T) {
	testenv.Privileged(t)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, script string
		flags        uintptr
		apart        bool
		up           int
	}{
		{"here", "exec 9>wal; exec sleep 100", 0, false, 1},
		{"own network", "exec 9>wal; exec sleep 100", syscall.CLONE_NEWNET, true, 1},
		{"own mounts", "mount --make-rprivate / && mount -t tmpfs none " + data + " && cd " + data + " && exec 9>wal; exec sleep 100", syscall.CLONE_NEWNS, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", c.script)
			cmd.Dir = data
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: c.flags}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			testenv.WaitFor(t, "sleep", func() bool {
				exe, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "exe"))
				return filepath.Base(exe) != "sh" && filepath.Base(exe) != "dash" && filepath.Base(exe) != "bash"
			})
			f := look(t, model.Spec{Members: []model.Member{{Name: "a", PID: cmd.Process.Pid}, {Name: "b", Data: []string{data}}}, Action: []string{"/bin/true"}, Dir: "/"}, "")
			if f.Members[0].Apart != c.apart || len(f.Members[1].Up) != c.up {
				t.Errorf("got %+v", f.Members)
			}
		})
	}
}
