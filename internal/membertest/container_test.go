//go:build linux

package membertest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// A container is how one is made.
type container struct {
	name string
	uid  int // of its root, outside
	// unshare are arguments of unshare(1), which the user calls. Without any root
	// makes it, with 65536 users.
	unshare []string
}

var (
	rootless = container{"rootless", 4242, []string{"-U", "-r", "-m", "-p", "-n", "-f", "--mount-proc"}}
	rootmade = container{"of root", 0, []string{"-m", "-p", "-n", "-f", "--mount-proc"}}
	mapped   = container{"of several users", 100000, nil}
)

// contain starts victims in a container and waits until they are busy. With
// first, the only one is its number 1; else that is one more, which is no member,
// and whose log is the scene's last.
func contain(t *testing.T, c container, first bool, members ...member) *scene {
	t.Helper()
	s := empty(t)
	var held []victim.Held
	for i, m := range members {
		data := filepath.Join(s.dir, fmt.Sprintf("m%d", i))
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(data, c.uid+m.id.UID, c.uid+m.id.GID); err != nil {
			t.Fatal(err)
		}
		m.id.First, m.id.MountProc = first, len(c.unshare) == 0
		h := victim.Held{Identity: m.id, Kind: m.kind, Dir: data, Output: filepath.Join(s.dir, fmt.Sprintf("output%d", i))}
		if err := os.WriteFile(h.Output, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(h.Output, 0o666); err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
		s.logs = append(s.logs, filepath.Join(data, victim.Log))
	}
	args := []string{s.program(t, victim.LaunchName)}
	if first {
		id, err := json.Marshal(held[0].Identity)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, string(id), held[0].Kind, held[0].Dir)
	} else {
		args[0] = s.program(t, victim.HoldName)
		order, err := json.Marshal(held)
		if err != nil {
			t.Fatal(err)
		}
		home := filepath.Join(s.dir, "home")
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, c.uid, c.uid); err != nil {
			t.Fatal(err)
		}
		args = append(args, string(order), filepath.Join(home, victim.Log))
	}
	one := s.startContainer(t, c, args)
	pids := []int{one}
	if !first {
		s.logs = append(s.logs, filepath.Join(s.dir, "home", victim.Log))
	}
	s.wantBusy(t)
	if !first {
		// Not before: os.StartProcess has a child of its own for a moment.
		var err error
		if pids, err = procfs.Children(one); err != nil || len(pids) != len(members) {
			t.Fatalf("children of number 1: %v, %v", pids, err)
		}
		slices.Sort(pids)
	}
	for i, m := range members {
		s.members = append(s.members, model.Member{
			Name: fmt.Sprintf("%s%d", m.kind, i), PID: pids[i], Args: []string{victim.Name, m.kind}, Data: []string{held[i].Dir},
		})
	}
	s.one = one
	return s
}

// program is the path of a link to the test's program, by whose name that knows
// what it is to be.
func (s *scene) program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.Symlink(s.binary, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// startContainer starts args as the first process of a container, and returns its
// number here.
func (s *scene) startContainer(t *testing.T, c container, args []string) int {
	t.Helper()
	output, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	if err := output.Chmod(0o666); err != nil { // victims open it anew
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: args[0], Args: args, Stdout: output, Stderr: output, Dir: "/"}
	if len(c.unshare) > 0 {
		if cmd.Path, err = exec.LookPath("unshare"); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(append([]string{"unshare"}, c.unshare...), args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)}}
	} else {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: c.uid, Size: 1000}, {ContainerID: 1000, HostID: c.uid + 1000, Size: 64536}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
			UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
			Credential: &syscall.Credential{},
		}
	}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	one := cmd.Process.Pid
	t.Cleanup(func() {
		if one != cmd.Process.Pid {
			_ = unix.Kill(one, unix.SIGKILL) // unshare waits for it
		} else {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if text, err := os.ReadFile(output.Name()); err == nil && len(text) > 0 {
			t.Logf("the container says: %s", text)
		}
	})
	if len(c.unshare) > 0 {
		testenv.WaitFor(t, "the container begins", func() bool {
			children, _ := procfs.Children(cmd.Process.Pid)
			if len(children) == 1 {
				one = children[0]
			}
			return len(children) == 1
		})
	}
	return one
}

// join moves the calling thread into the mounts, network, IPC and host name of
// process pid, with the host's /proc, as an agent does.
func join(pid int) error {
	proc, err := unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if err := sys.Enter(pid, unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.MoveMount(proc, "", unix.AT_FDCWD, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH)
}
