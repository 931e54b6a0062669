package procfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Processes lists the ids of all processes, ascending.
func Processes() ([]int, error) { return numbers("/proc") }

// Tasks lists the thread ids of a process, ascending: /proc/PID/task.
func Tasks(pid int) ([]int, error) { return numbers(path(pid, "task")) }

// Children lists the children of a process in no order,
// proc_tid_children(5). The list may miss children while the process runs.
// It is empty on a kernel without CONFIG_PROC_CHILDREN.
func Children(pid int) (out []int, err error) {
	tids, err := Tasks(pid)
	if err != nil {
		return nil, err
	}
	for _, tid := range tids {
		of, err := parsed(path(pid, "task/"+strconv.Itoa(tid)+"/children"), parseChildren)
		if err != nil && !missing(err) { // the thread has ended
			return nil, err
		}
		out = append(out, of...)
	}
	return out, nil
}

func parseChildren(text []byte) ([]int, error) {
	l := line{rest: bytes.TrimSpace(text)}
	out := l.ints()
	if l.bad {
		return nil, malformed("children", text)
	}
	return out, nil
}

// Cmdline reads /proc/PID/cmdline, proc_pid_cmdline(5). It is empty for kernel
// threads and zombies, and holds whatever the process has made of it.
func Cmdline(pid int) ([]string, error) { return parsed(path(pid, "cmdline"), ParseStrings) }

// Environ reads /proc/PID/environ, proc_pid_environ(5): what the process was
// started with, not what it has set since.
func Environ(pid int) ([]string, error) { return parsed(path(pid, "environ"), ParseStrings) }

// ParseStrings splits text at its NULs, of which the last ends the last string.
func ParseStrings(text []byte) ([]string, error) {
	if len(text) == 0 {
		return nil, nil
	}
	text = bytes.TrimSuffix(text, []byte{0})
	out := make([]string, 0, bytes.Count(text, []byte{0})+1)
	for len(text) > 0 || len(out) == 0 {
		s, rest, more := bytes.Cut(text, []byte{0})
		out = append(out, string(s))
		if more && len(rest) == 0 {
			out = append(out, "")
		}
		text = rest
	}
	return out, nil
}

// Exe returns the executable, proc_pid_exe(5). Its path ends with " (deleted)"
// if it has been removed. Kernel threads and zombies have none, which is an
// error for which errors.Is reports [io/fs.ErrNotExist].
func Exe(pid int) (string, error) { return os.Readlink(path(pid, "exe")) }

// Cwd returns the current working directory, proc_pid_cwd(5).
func Cwd(pid int) (string, error) { return os.Readlink(path(pid, "cwd")) }

// Root returns the root directory, proc_pid_root(5), as seen from ours.
func Root(pid int) (string, error) { return os.Readlink(path(pid, "root")) }

// Namespaces maps "user", "mnt", "net", "ipc", "uts", "pid", "time" and
// "cgroup", and "pid_for_children" and "time_for_children", to the
// inode numbers that identify them: namespaces(7). A kind that the kernel
// lacks is absent.
func Namespaces(pid int) (map[string]uint64, error) {
	dir := path(pid, "ns")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(entries))
	for _, e := range entries {
		link, err := os.Readlink(dir + "/" + e.Name())
		if err != nil {
			if missing(err) && e.Name() == "pid_for_children" {
				continue // unshared, and no process made in it yet
			}
			return nil, err
		}
		if out[e.Name()], err = ParseNamespace(link); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Namespace returns the inode number of one of a process's namespaces, of a kind
// that [Namespaces] lists.
func Namespace(pid int, kind string) (uint64, error) {
	link, err := os.Readlink(path(pid, "ns/"+kind))
	if err != nil {
		return 0, err
	}
	return ParseNamespace(link)
}

// ParseNamespace returns the inode number in a link such as "net:[4026531840]".
func ParseNamespace(link string) (uint64, error) {
	l := line{rest: []byte(link)}
	l.upTo('[')
	n := l.number(l.upTo(']'), 10, 64)
	if l.bad || len(l.rest) > 0 {
		return 0, fmt.Errorf("malformed namespace %q", link)
	}
	return n, nil
}

// Tracer returns the process that traces a thread of pid, 0 when none does.
func Tracer(pid int) int {
	tids, err := Tasks(pid)
	if err != nil {
		return 0
	}
	for _, tid := range tids {
		if s, err := ReadStatus(tid); err == nil && s.TracerPID != 0 {
			return s.TracerPID
		}
	}
	return 0
}
