//go:build linux

package worldinit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// newSpaces are the namespaces of a world.
const newSpaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS |
	unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// startWithin starts cmd in new namespaces of which those of users and process
// numbers are children of process c.Within's: only such can be entered from there.
//
// A process enters a user namespace while it has one thread only. A Go program
// has, for a single moment: when it was executed and has not run yet. So the
// program is held there. It enters, and then two more are made, none of which
// runs before the last is what it shall be:
//
//	program    enters; it stays in the agent's pid namespace, setns(2)
//	 messenger is in Within's pid namespace; writes the maps of the next, which
//	           takes a process in the parent user namespace
//	  init     has the new namespaces
//
// All are children of the agent. So whatever ends, and in which order, nobody
// in Within's pid namespace becomes their parent.
func startWithin(cmd *exec.Cmd, c Config) (init *os.Process, err error) {
	status, err := procfs.ReadStatus(c.Within)
	if err != nil {
		return nil, err
	}
	spaces, maps, err := within(c.Within)
	// Behind the socket: to be closed again in the program.
	first := socketFD + len(cmd.ExtraFiles)
	for _, s := range spaces {
		defer s.file.Close()
	}
	if err != nil {
		return nil, err
	}
	for _, s := range spaces {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
	}
	cmd.SysProcAttr.Ptrace = true
	t := osthread.New()
	defer t.Close()
	pid := 0
	err = t.Do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _ = cmd.Process.Kill() }()
		program, err := steer(cmd.Process.Pid)
		if err != nil {
			return err
		}
		defer program.mem.Close()
		if err := fault.ProgramHeld.Hit(); err != nil {
			return err
		}
		// Now, since in there it may be forbidden, and groups of the agent's give
		// rights to files.
		if err := program.setGroups(status.Groups); err != nil {
			return err
		}
		for i, s := range spaces {
			if _, _, err := program.call(unix.SYS_SETNS, uint64(first+i), uint64(s.kind)); err != nil {
				return fmt.Errorf("enter %s: %w", s.file.Name(), err)
			}
			if _, _, err := program.call(unix.SYS_CLOSE, uint64(first+i)); err != nil {
				return err
			}
		}
		if err := program.become(c.Owner, status.GIDs[1]); err != nil {
			return err
		}
		if err := fault.ContainerEntered.Hit(); err != nil {
			return err
		}
		pid, err = program.bear(maps)
		return err
	})
	if err != nil {
		if cmd.Process != nil {
			_ = cmd.Wait()
		}
		return nil, err
	}
	return os.FindProcess(pid)
}

// A space is a namespace to be entered.
type space struct {
	file *os.File
	kind int
}

// within opens the namespaces of process pid that are not ours, and reads the
// numbers of users and groups in its user namespace, as maps of these onto
// themselves.
func within(pid int) (spaces []space, maps map[string]string, err error) {
	theirs, err := procfs.Namespaces(pid)
	if err != nil {
		return nil, nil, err
	}
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil {
		return nil, nil, err
	}
	for _, s := range []struct {
		name string
		kind int
	}{{"pid", unix.CLONE_NEWPID}, {"user", unix.CLONE_NEWUSER}} {
		if theirs[s.name] == ours[s.name] {
			continue
		}
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, s.name))
		if err != nil {
			return spaces, nil, err
		}
		spaces = append(spaces, space{f, s.kind})
	}
	maps = map[string]string{}
	for _, name := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			return spaces, nil, err
		}
		if maps[name], err = ontoItself(string(text)); err != nil {
			return spaces, nil, fmt.Errorf("%s of pid %d: %w", name, pid, err)
		}
	}
	return spaces, maps, nil
}

// ontoItself makes a map of user_namespaces(7) one for a child that knows the
// same numbers.
func ontoItself(text string) (string, error) {
	var out strings.Builder
	for line := range strings.Lines(text) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%d %d %d\n", inside, inside, count)
	}
	return out.String(), nil
}

// become takes on a user and a group, by their numbers outside: what it makes
// then belongs to these. It keeps its capabilities.
func (s *steered) become(uid, gid int) error {
	const noFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP, include/uapi/linux/securebits.h
	u, g := uint64(s.inside("uid_map", uid)), uint64(s.inside("gid_map", gid))
	for _, c := range []struct {
		name string
		nr   uintptr
		args []uint64
	}{
		{"prctl", unix.SYS_PRCTL, []uint64{unix.PR_SET_SECUREBITS, noFixup}},
		{"setresgid", unix.SYS_SETRESGID, []uint64{g, g, g}},
		{"setresuid", unix.SYS_SETRESUID, []uint64{u, u, u}},
	} {
		if _, _, err := s.call(c.nr, c.args...); err != nil {
			return fmt.Errorf("become user %d, group %d of the namespace: %s: %w", u, g, c.name, err)
		}
	}
	return nil
}

// setGroups gives the process these supplementary groups.
func (s *steered) setGroups(groups []int) error {
	var list []byte
	for _, g := range groups {
		list = binary.NativeEndian.AppendUint32(list, uint32(g))
	}
	if len(list) > scratched {
		return fmt.Errorf("%d groups are too many", len(groups))
	}
	if len(list) > 0 {
		if _, err := s.mem.WriteAt(list, int64(s.scratch)); err != nil {
			return err
		}
	}
	if _, _, err := s.call(unix.SYS_SETGROUPS, uint64(len(groups)), s.scratch); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	return nil
}

// inside returns the number by which the process knows what is id for us. Who
// has none is an invalid number to the kernel.
func (s *steered) inside(file string, id int) uint32 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.pid, file))
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && id >= outside && id < outside+count {
			return uint32(inside + id - outside)
		}
	}
	return ^uint32(0) - 1
}

// bear makes the messenger and the init, and returns the init's number.
func (s *steered) bear(maps map[string]string) (pid int, err error) {
	messenger, err := s.fork(0)
	if err != nil {
		return 0, fmt.Errorf("make a process there: %w", err)
	}
	defer messenger.end()
	if err := fault.MessengerBorn.Hit(); err != nil {
		return 0, err
	}
	// Or what is in /proc of the next belongs to root of the host, since the
	// program was executed as that, and cannot be written to.
	if err := messenger.showSelf(); err != nil {
		return 0, err
	}
	init, err := messenger.fork(newSpaces)
	if err != nil {
		return 0, fmt.Errorf("make namespaces there: %w", err)
	}
	defer func() {
		if err != nil {
			init.end()
		}
	}()
	if err := fault.InitBorn.Hit(); err != nil {
		return 0, err
	}
	for name, text := range maps {
		if err := messenger.writeFile(fmt.Sprintf("/proc/%d/%s", init.pid, name), text); err != nil {
			return 0, err
		}
	}
	if err := fault.MapsWritten.Hit(); err != nil {
		return 0, err
	}
	// Where groups may not be set (setgroups(2) is denied to containers of
	// ordinary users) it has the member's.
	if _, _, err := init.call(unix.SYS_SETGROUPS, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return 0, err
	}
	for _, nr := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, err := init.call(nr, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("become root of the world: %w", err)
		}
	}
	// Or it could not open its own files of /proc, until it has done so.
	if err := init.showSelf(); err != nil {
		return 0, err
	}
	return init.pid, init.release()
}

// showSelf makes the process dumpable: others with power over its user
// namespace may look at it. Its memory was made in the agent's user namespace,
// in which these have none (kernel/ptrace.c, __ptrace_may_access).
func (s *steered) showSelf() error {
	_, _, err := s.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)
	return err
}
