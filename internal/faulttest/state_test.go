//go:build linux

package faulttest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
)

// A look is what can be seen of a process from outside, by name.
type look map[string]string

// volatile are the lines of proc_pid_status(5) that tell of the process's own
// doings: memory that it uses, switches between threads.
var volatile = []string{"Vm", "Rss", "HugetlbPages", "State", "Threads", "SigQ", "voluntary_ctxt_switches",
	"nonvoluntary_ctxt_switches", "Cpus_allowed", "Mems_allowed"}

// observe looks at process pid. Its anonymous memory is listed if exact is set:
// runtimes with a collector change theirs all the time.
func observe(pid int, exact bool) look {
	l := look{}
	dir := fmt.Sprintf("/proc/%d", pid)
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return look{"process": err.Error()}
	}
	for _, tid := range tids {
		text, err := os.ReadFile(fmt.Sprintf("%s/task/%d/status", dir, tid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if key == "State" && strings.ContainsAny(value, "tTZ") {
				l[fmt.Sprintf("thread %d stands", tid)] = strings.TrimSpace(value)
			}
			if !slices.ContainsFunc(volatile, func(v string) bool { return strings.HasPrefix(key, v) }) {
				l[fmt.Sprintf("thread %d %s", tid, key)] = strings.TrimSpace(value)
			}
		}
	}
	vmas, _ := procfs.Maps(pid)
	for _, v := range vmas {
		named := v.Inode != 0 || v.Path == "[vdso]" || v.Path == "[vvar]"
		ours := v.Start>>28 == uint64(tracee.ArenaHint)>>28
		if exact && v.Path != "[heap]" || named || ours {
			l[fmt.Sprintf("mapping %#x-%#x", v.Start, v.End)] =
				fmt.Sprintf("%t%t%t%t %d:%d+%d %s", v.Read, v.Write, v.Exec, v.Shared, v.Dev, v.Inode, v.Offset, v.Path)
		}
	}
	fds, _ := procfs.FDs(pid)
	for _, fd := range fds {
		link, err := os.Readlink(fmt.Sprintf("%s/fd/%d", dir, fd))
		if err != nil {
			continue
		}
		l[fmt.Sprintf("fd %d", fd)] = link
		info, _ := os.ReadFile(fmt.Sprintf("%s/fdinfo/%d", dir, fd))
		for line := range strings.Lines(string(info)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			// Positions, ticks and locks come and go by themselves.
			if slices.Contains([]string{"flags", "mnt_id", "ino", "clockid", "tfd"}, key) {
				l[fmt.Sprintf("fd %d %s", fd, key)] += strings.TrimSpace(value) + " "
			}
		}
	}
	children, _ := procfs.Children(pid)
	for _, child := range children {
		l[fmt.Sprintf("child %d", child)] = "there"
	}
	for _, file := range []string{"cgroup", "limits", "oom_score_adj", "oom_adj", "coredump_filter", "personality", "timers", "cmdline", "environ", "mountinfo"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		l[file] = fmt.Sprint(string(text), err)
	}
	for _, link := range []string{"cwd", "root", "exe"} {
		l[link], _ = os.Readlink(filepath.Join(dir, link))
	}
	spaces, err := procfs.Namespaces(pid)
	l["namespaces"] = fmt.Sprint(spaces, err)
	return l
}

// A custom is what a process usually looks like.
type custom struct {
	pid int
	// exact is set for a process whose threads and anonymous memory are as its
	// program says. Runtimes with a collector change theirs all the time.
	exact bool
	// seen are the values that everything had, "" for none.
	seen map[string]map[string]bool
}

// looks and lookEvery are how a custom is learned.
const (
	looks     = 40
	lookEvery = 10 * time.Millisecond
)

// learn watches a process that nobody touches.
func learn(pid int, exact bool) custom {
	c := custom{pid, exact, map[string]map[string]bool{}}
	for i := range looks {
		l := observe(pid, exact)
		for key, value := range l {
			if c.seen[key] == nil {
				c.seen[key] = map[string]bool{"": i > 0}
			}
			c.seen[key][value] = true
		}
		for key := range c.seen {
			if _, there := l[key]; !there {
				c.seen[key][""] = true
			}
		}
		time.Sleep(lookEvery)
	}
	return c
}

// strange looks at the process and lists what is not customary.
func (c custom) strange() map[string]string {
	l := observe(c.pid, c.exact)
	out := map[string]string{}
	for key, value := range l {
		if !c.seen[key][value] && !c.own(l, key) {
			out[key] = value
		}
	}
	for key, values := range c.seen {
		if _, there := l[key]; !there && !values[""] {
			out[key] = "missing"
		}
	}
	return out
}

// own tells the threads that a runtime has made from pilot's helper, which
// blocks every signal, and from a thread that somebody traces.
func (c custom) own(l look, key string) bool {
	var tid int
	if _, err := fmt.Sscanf(key, "thread %d ", &tid); err != nil || c.exact {
		return false
	}
	thread := func(field string) string { return fmt.Sprintf("thread %d %s", tid, field) }
	return c.seen[thread("Tgid")] == nil && l[thread("TracerPid")] == "0" && !strings.HasPrefix(l[thread("SigBlk")], "ffffffff")
}

// settled is how long traces may last, such as a helper on its way to its end.
// What stays stays for ever, so that a busy machine may have its time.
const settled = patience

// lasting looks at a process until nothing about it is strange any more, and
// returns what is strange in every look when time is up. It ignores the arena
// if that is set: one may outlive an agent that was killed.
func (c custom) lasting(arena bool) map[string]string {
	var left map[string]string
	for deadline := time.Now().Add(settled); ; time.Sleep(2 * time.Millisecond) {
		now := c.strange()
		if arena {
			maps.DeleteFunc(now, func(key, _ string) bool { return isArena(key) })
		}
		if left == nil {
			left = now
		}
		for key := range left {
			if _, still := now[key]; !still {
				delete(left, key)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// isArena tells a mapping of pilot's among what is strange.
func isArena(key string) bool {
	var start uint64
	_, err := fmt.Sscanf(key, "mapping 0x%x-", &start)
	return err == nil && start>>28 == uint64(tracee.ArenaHint)>>28
}

// standing tells where every thread of a process is: what to read first when
// something is strange.
func standing(pid int) string {
	var b strings.Builder
	tids, _ := procfs.Tasks(pid)
	for _, tid := range tids {
		for _, file := range []string{"stat", "wchan", "syscall", "stack"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/%s", pid, tid, file))
			if err != nil {
				text = []byte(err.Error())
			}
			fmt.Fprintf(&b, "%d %s: %s\n", tid, file, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " < "))
		}
	}
	return b.String()
}
