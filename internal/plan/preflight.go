package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A Descriptor is one open descriptor as preflight sees it.
type Descriptor struct {
	FD int
	// Kind is the kernel's name: "file", "socket:[tcp]", "anon_inode:[io_uring]".
	Kind string
	// Known tells whether a world can have it.
	Known bool
	Link  string
}

// A Mapping is one memory mapping of interest: those that are not plain
// private memory.
type Mapping struct {
	Start, End uint64
	Path       string
	Shared     bool
	Flags      []string // VmFlags of proc_pid_smaps(5)
}

// ProcessFacts is everything that preflight decides on.
type ProcessFacts struct {
	Member     model.Member
	State      string // of proc_pid_status(5), such as "S (sleeping)"
	KernelTask bool
	TracerPID  int
	Tracer     string
	ParentPID  int
	AgentPID   int
	UIDs       []int // real, effective, saved, file system
	Seccomp    int
	Shadow     bool // shadow stacks are in use
	// Foreign are the namespaces that are not the agent's.
	Foreign     []string
	Root        string
	TIDs        []int
	Resident    int64
	Descriptors []Descriptor
	Mappings    []Mapping
	Children    []int
}

// lowestTID is the least thread number that a world can give: the world's own
// init takes the first ones.
const lowestTID = 33

// maxCopied bounds the memory that is copied in the pause.
const maxCopied = 64 << 20

// Preflight says what of a process cannot be piloted, what would differ in a
// world, and which kinds of objects it holds.
func Preflight(f ProcessFacts) (refusals []model.Refusal, gaps []model.Gap, objects []model.Object) {
	refuse := func(object, kind, why, hint string) {
		refusals = append(refusals, model.Refusal{
			Member: f.Member.Name, PID: f.Member.PID, Object: object, Kind: kind, Why: why, Hint: hint,
		})
	}
	f.refuseProcess(refuse)
	f.refuseDescriptors(refuse)
	f.refuseMappings(refuse)
	for _, child := range f.Children {
		gaps = append(gaps, model.Gap{Member: f.Member.Name, Object: fmt.Sprintf("child process %d", child),
			Detail: "a child is in the world only as a member of its own, and then not as a child"})
	}
	for _, m := range f.Mappings {
		if m.has("wf") && !m.has("dp") || m.has("dc") && !m.has("io") {
			gaps = append(gaps, model.Gap{Member: f.Member.Name, Object: m.String(),
				Detail: "memory that fork leaves out, copied byte by byte"})
		}
	}
	return refusals, gaps, f.objects()
}

type refuseFunc func(object, kind, why, hint string)

func (f ProcessFacts) refuseProcess(refuse refuseFunc) {
	switch {
	case f.KernelTask:
		refuse("process", "kernel thread", "has no memory of its own", "name a process of the cluster")
		return
	case strings.HasPrefix(f.State, "Z"), strings.HasPrefix(f.State, "X"):
		refuse("process", "zombie", "has ended already", "start the member, or describe it as down in pilot.yaml")
		return
	}
	if f.TracerPID != 0 {
		refuse("process", "tracee", fmt.Sprintf("is traced by pid %d (%s)", f.TracerPID, f.Tracer), "detach the debugger and try again")
	}
	if f.ParentPID == f.AgentPID {
		refuse("process", "child of pilot", "was started by the process that would trace it", "start pilot as a process of its own")
	}
	if f.Seccomp == 1 {
		refuse("process", "strict seccomp", "may make no system call but read, write and exit", "")
	}
	if f.Shadow {
		refuse("process", "shadow stack", "returns cannot be redirected", "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off")
	}
	if f.Root != "/" && f.Root != "" {
		refuse("root "+f.Root, "chroot", "has another root directory", "")
	}
	for _, ns := range f.Foreign {
		refuse("namespace", ns, "is in another "+ns+" namespace than pilot", "run pilot inside the same container")
	}
	for _, uid := range f.UIDs {
		if uid != 0 {
			refuse("process", fmt.Sprintf("uid %d", uid), "does not run as root", "only members that run as root can be piloted so far")
			break
		}
	}
	if low := slices.Min(append(slices.Clone(f.TIDs), lowestTID)); low < lowestTID {
		refuse("thread", fmt.Sprintf("tid %d", low), fmt.Sprintf("thread numbers below %d are taken in a world", lowestTID),
			"restart the member, so that it gets higher numbers")
	}
}

// hints tell what to do about a kind of object.
var hints = map[string]string{
	"anon_inode:[io_uring]":    "start the member with io_uring switched off",
	"anon_inode:[perf_event]":  "stop the profiler",
	"anon_inode:[userfaultfd]": "",
}

func (f ProcessFacts) refuseDescriptors(refuse refuseFunc) {
	for _, d := range f.Descriptors {
		if !d.Known {
			refuse(fmt.Sprintf("fd %d", d.FD), d.Kind, "cannot be made anew in a world", hints[d.Kind])
		}
	}
}

func (m Mapping) has(flag string) bool { return slices.Contains(m.Flags, flag) }

func (m Mapping) String() string { return fmt.Sprintf("mapping %#x-%#x %s", m.Start, m.End, m.Path) }

func (f ProcessFacts) refuseMappings(refuse refuseFunc) {
	copied := uint64(0)
	for _, m := range f.Mappings {
		switch {
		case m.has("um"), m.has("uw"), m.has("ui"):
			refuse(m.String(), "userfaultfd", "its page faults are served by a program", "")
		case strings.HasPrefix(m.Path, "/SYSV"):
			refuse(m.String(), "SysV shared memory", "cannot be made anew in a world", "")
		case strings.HasPrefix(m.Path, "/[aio]"):
			refuse(m.String(), "aio", "asynchronous I/O may be under way", "switch native AIO off in the member's configuration")
		case strings.HasPrefix(m.Path, "anon_inode:"):
			refuse(m.String(), m.Path, "cannot be made anew in a world", hints[m.Path])
		case (m.has("io") || m.has("pf")) && !strings.HasPrefix(m.Path, "["):
			refuse(m.String(), "device memory", "belongs to a device", "")
		case m.has("dc") || m.has("wf") && !m.has("dp") || m.Shared && m.has("mw") && !slices.ContainsFunc(f.Member.Data, func(d string) bool {
			return m.Path == d || strings.HasPrefix(m.Path, strings.TrimSuffix(d, "/")+"/")
		}):
			copied += m.End - m.Start
		}
	}
	if copied > maxCopied {
		refuse("memory", "shared memory", fmt.Sprintf("%d MiB would have to be copied while production stands (limit %d)", copied>>20, maxCopied>>20),
			"give the directory of the mapped files as data")
	}
}

// objects counts the kinds of descriptors for doctor's table.
func (f ProcessFacts) objects() []model.Object {
	rows := map[string]*model.Object{}
	for _, d := range f.Descriptors {
		row := rows[d.Kind]
		if row == nil {
			row = &model.Object{Kind: d.Kind, Status: "ok"}
			if !d.Known {
				row.Status = "refused"
			}
			rows[d.Kind] = row
		}
		row.Count++
	}
	var out []model.Object
	for _, row := range rows {
		out = append(out, *row)
	}
	slices.SortFunc(out, func(a, b model.Object) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

// Predict estimates a process's share of the pause, from the figures in
// docs/design/pause.md: threads, descriptors, and page tables to copy.
func Predict(f ProcessFacts) time.Duration {
	return time.Duration(len(f.TIDs))*40*time.Microsecond +
		time.Duration(len(f.Descriptors))*45*time.Microsecond +
		time.Duration(f.Resident>>20)*24*time.Microsecond
}
