package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// ProcessFacts is everything that preflight decides on.
type ProcessFacts struct {
	Member     model.Member
	State      string // of proc_pid_status(5), such as "S (sleeping)"
	KernelTask bool
	TracerPID  int
	Tracer     string
	ParentPID  int
	AgentPID   int
	Seccomp    int
	Filtering  Filtering
	// Credentials are those of every thread, the lead's first.
	Credentials []Credentials
	Shadow      bool // shadow stacks are in use
	// Foreign are the namespaces of mounts and network that are not the agent's.
	Foreign []string
	// Container is zero where the process has the agent's numbers. Rootless is
	// set when its user namespace has no user or group 0.
	Container Container
	Rootless  bool
	// Number is the process's own, in its pid namespace.
	Number      int
	Root        string
	TIDs        []int
	Resident    int64
	Huge        int64 // of that, in huge pages
	Descriptors []Descriptor
	Mappings    []Mapping
	Children    []int
	// Outside are the addresses of connections to who is not a member.
	Outside []string
	// Label is what a security module confines the process by, empty when it
	// confines nothing.
	Label  string
	Traits Traits
	// Cgroup is the control group that phantoms stay in, for want of groups of
	// their own; empty when they leave it, or when it is the root.
	Cgroup string
	// Written is the resident memory that the process has written, in bytes: a
	// fork copies a page of it when either side writes there again.
	Written int64
	// Headroom is what the process's control groups let it take more, in bytes,
	// and Narrow the group with the least of it.
	Headroom int64
	Narrow   string
}

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
	return refusals, f.gaps(), f.objects()
}

// gaps lists what a world has otherwise than the origin.
func (f ProcessFacts) gaps() (out []model.Gap) {
	gap := func(object, detail string) {
		out = append(out, model.Gap{Member: f.Member.Name, Object: object, Detail: detail})
	}
	for _, child := range f.Children {
		gap(fmt.Sprintf("child process %d", child), "a child is in the world only as a member of its own, and then not as a child")
	}
	for _, m := range f.Mappings {
		if m.left() {
			gap(m.String(), "memory that fork leaves out, copied byte by byte")
		}
	}
	for _, peer := range f.Outside {
		gap("connection to "+peer, "it is dead in the world: the peer is not a member")
	}
	for _, c := range f.Credentials {
		if f.Credentials[0].NoNewPrivs && !c.NoNewPrivs {
			gap(fmt.Sprintf("thread %d", c.TID), "may gain no privileges by execve in the world (no_new_privs), like the first thread")
		}
	}
	if f.Label != "" {
		gap("security label "+f.Label, "its policy may forbid to enter a world; such a run fails after the snapshot, and changes nothing")
	}
	if f.Cgroup != "" && f.Cgroup != "/" {
		gap("cgroup "+f.Cgroup, "phantoms stay in it and count towards its limits: no group of their own can be made")
	}
	return append(out, f.Traits.gaps(f.Member)...)
}

// objects counts the kinds of descriptors for doctor's table.
func (f ProcessFacts) objects() []model.Object {
	rows := map[string]*model.Object{}
	for _, d := range f.Descriptors {
		row := rows[d.Kind]
		if row == nil {
			row = &model.Object{Kind: d.Kind, Status: "ok"}
			if r, refused := d.refusal(); refused {
				row.Status, row.Detail = "refused", r.why
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

// What a pause is made of, docs/design/pause.md.
const (
	stopThread    = 30 * time.Microsecond
	readThread    = 15 * time.Microsecond
	readObject    = 25 * time.Microsecond
	cloneMebibyte = 24 * time.Microsecond // of 4 KiB pages
	cloneHuge     = time.Microsecond      // of a mebibyte in huge ones
	releaseThread = 4 * time.Microsecond
)

// Predict estimates a process's share of the pause. The part for files is 0: it
// takes the copy to know which of them change.
func Predict(f ProcessFacts) model.Pause {
	threads, objects := time.Duration(len(f.TIDs)), time.Duration(len(f.Descriptors))
	p := model.Pause{
		Threads: len(f.TIDs), Objects: len(f.Descriptors),
		Stop: threads * stopThread, Capture: threads*readThread + objects*readObject, Release: threads * releaseThread,
	}
	// The clone is made meanwhile.
	small, huge := time.Duration(max(0, f.Resident-f.Huge)>>20), time.Duration(f.Huge>>20)
	p.Fork = max(0, small*cloneMebibyte+huge*cloneHuge-p.Capture)
	p.Total = p.Stop + p.Capture + p.Fork + p.Release
	return p
}

// PredictAll estimates the pause of a cluster.
func PredictAll(all []ProcessFacts) (sum model.Pause) {
	for _, f := range all {
		if !f.Member.Down() {
			sum = sum.Plus(Predict(f))
		}
	}
	return sum
}
