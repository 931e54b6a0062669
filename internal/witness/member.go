package witness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
)

func (r reader) members(list []model.Member) (out []drift.Member, err error) {
	ours, err := procfs.Namespaces(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("read own namespaces: %w", err)
	}
	for _, m := range list {
		if m.Down() {
			out = append(out, drift.Member{Name: m.Name, Args: m.Args, Data: contents(m.Data), Up: users(m)})
			continue
		}
		f, err := r.member(m)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.Gone = "no such process"
		case err != nil:
			f.Gone = cause(err)
		}
		f.Apart = f.Gone == "" && (f.Spaces["mnt"] != ours["mnt"] || f.Spaces["net"] != ours["net"])
		out = append(out, f)
	}
	return out, nil
}

// member reads a process. The start time, read first and last, says that all of
// it is one process's.
func (r reader) member(m model.Member) (drift.Member, error) {
	f := drift.Member{Name: m.Name, PID: m.PID}
	stat, err := procfs.ReadStat(m.PID)
	if err != nil {
		return f, err
	}
	f.Start, f.Stack = stat.StartTime, stat.StartStack
	path, err := procfs.Exe(m.PID)
	if err != nil {
		return f, err
	}
	f.Running = at(fmt.Sprintf("/proc/%d/exe", m.PID)) // leads to it even if it was removed
	f.Running.Path = path
	path = strings.TrimSuffix(path, " (deleted)")
	f.Program = r.file(fmt.Sprintf("/proc/%d/root%s", m.PID, path))
	f.Program.Path = path
	if f.Args, err = procfs.Cmdline(m.PID); err != nil {
		return f, err
	}
	status, err := procfs.ReadStatus(m.PID)
	if err != nil {
		return f, err
	}
	f.UIDs, f.GIDs, f.Groups = status.UIDs, status.GIDs, status.Groups
	if f.Spaces, err = procfs.Namespaces(m.PID); err != nil {
		return f, err
	}
	// Those of children to come say nothing of the process.
	delete(f.Spaces, "pid_for_children")
	delete(f.Spaces, "time_for_children")
	if stat, err = procfs.ReadStat(m.PID); err != nil {
		return f, err
	}
	if stat.StartTime != f.Start {
		return f, fs.ErrNotExist
	}
	return f, nil
}

// users are the processes that a member that is down has after all: those with
// its command line, and those that have its data open for writing.
func users(m model.Member) (out []string) {
	pids, err := procfs.Processes()
	if err != nil {
		return []string{cause(err)}
	}
	for _, pid := range pids {
		if pid == os.Getpid() || !sees(pid, m.Data) {
			continue
		}
		args, err := procfs.Cmdline(pid)
		if err != nil || len(args) == 0 {
			continue
		}
		if sameCommand(args, m.Args) || writes(pid, m.Data) {
			out = append(out, fmt.Sprintf("pid %d (%.60s)", pid, strings.Join(args, " ")))
		}
	}
	return out
}

// sameCommand reports whether a process was started by command, whose program may
// have been found in PATH.
func sameCommand(args, command []string) bool {
	return len(args) > 0 && len(args) == len(command) && slices.Equal(args[1:], command[1:]) && filepath.Base(args[0]) == filepath.Base(command[0])
}

// sees reports whether data are the same files for process pid as for us. They
// are not in a world, and in most containers.
func sees(pid int, data []string) bool {
	if len(data) == 0 {
		theirs, err := procfs.Namespace(pid, "mnt")
		ours, err2 := procfs.Namespace(os.Getpid(), "mnt")
		return errors.Join(err, err2) == nil && theirs == ours
	}
	return slices.ContainsFunc(data, func(path string) bool {
		theirs, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", pid, path))
		ours, err2 := os.Stat(path)
		return errors.Join(err, err2) == nil && os.SameFile(theirs, ours)
	})
}

// writes reports whether process pid has a file of data open for writing.
func writes(pid int, data []string) bool {
	fds, err := procfs.FDs(pid)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil || !within(path, data) {
			continue
		}
		info, err := procfs.ReadFDInfo(pid, fd)
		if err == nil && info.Flags&(os.O_WRONLY|os.O_RDWR) != 0 {
			return true
		}
	}
	return false
}
