//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

const (
	// mostProcesses bounds the processes and threads of a world.
	mostProcesses = 8192
	// lowestPriority is the nice value of worlds where there is no group for
	// the processor.
	lowestPriority = 19
)

// A confinement is the means by which a run is bounded: a control group with a
// child for the seeds and for each world, as far as groups are to be had.
type confinement struct {
	groups *cgroup.Run
	limits model.Limits
}

// confine makes the groups of a run with so many worlds at a time. The caller
// closes them.
func confine(name string, l model.Limits, worlds int) (*confinement, error) {
	hierarchies, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	groups, err := cgroup.New(hierarchies, name, cgroup.Limits{
		// All worlds, and a little for the seeds.
		Memory: int64(worlds)*l.MaxMemory + 64<<20, PIDs: (worlds + 1) * mostProcesses, CPUWeight: cgroup.DefaultWeight,
	})
	if err != nil {
		return nil, err
	}
	return &confinement{groups, l}, nil
}

// groupName is what the groups of the run that works in dir are called. The
// registry keeps a run's work in a directory below the one with its name.
func groupName(dir string) string {
	return fmt.Sprintf("%s-%d", filepath.Base(filepath.Dir(dir)), os.Getpid())
}

// String says which means are in force, for the report.
func (c *confinement) String() string {
	const rest = "oom_score_adj, nice and rlimits"
	means, missing := c.groups.Means(), strings.Join(c.groups.Missing, "; ")
	switch {
	case means == "":
		return "no cgroup: only " + rest + "; missing: " + missing
	case missing != "":
		return means + ", for the rest " + rest + "; missing: " + missing
	}
	return means
}

// measure completes the facts of members by what their control groups leave
// them, and by whether phantoms will leave these.
func (c *confinement) measure(all []facts) error {
	hierarchies, err := cgroup.Find()
	if err != nil {
		return err
	}
	for i := range all {
		f := &all[i]
		f.Headroom = cgroup.Unlimited
		if f.Member.Down() || f.KernelTask {
			continue
		}
		groups, err := procfs.Memberships(f.Member.PID)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // ended: what follows will notice
			}
			return err
		}
		if f.Headroom, f.Narrow, err = cgroup.Headroom(hierarchies, groups); err != nil {
			return fmt.Errorf("control groups of %s: %w", f.Member.Name, err)
		}
		if !c.groups.Has("memory") {
			f.Cgroup = memoryGroup(groups)
		}
	}
	return nil
}

// memoryGroup is the path of the group that memory is charged to.
func memoryGroup(groups []procfs.Membership) string {
	path := ""
	for _, m := range groups {
		if slices.Contains(m.Controllers, "memory") || m.Controllers == nil && path == "" {
			path = m.Path
		}
	}
	return path
}

func processFacts(all []facts) (out []plan.ProcessFacts) {
	for _, f := range all {
		out = append(out, f.ProcessFacts)
	}
	return out
}

// cage makes the group of one world, or of the seeds.
func (c *confinement) cage(name string, memory int64) (*cage, error) {
	g, err := c.groups.Group(name, cgroup.Limits{Memory: memory, PIDs: mostProcesses})
	if err != nil {
		return nil, fmt.Errorf("make group %s: %w", name, err)
	}
	return &cage{group: g, nice: !c.groups.Has("cpu"), memory: memory, rlimit: memory > 0 && !c.groups.Has("memory")}, nil
}

// hurry lets seeds have real-time priority, and one world.
func (c *confinement) hurry(seeds *cage) {
	c.groups.Hurry()
	seeds.Hurry()
}

// hurried makes worlds, with real-time priority for those that are being made.
func (c *confinement) hurried(seeds *cage, fn func() error) error {
	c.hurry(seeds)
	return errors.Join(fn(), seeds.Calm(), c.groups.Calm())
}

// hasten is called before worlds are ended.
func (c *confinement) hasten() error {
	if c == nil {
		return nil
	}
	return c.groups.Hasten()
}

// release removes the group of a world that has ended.
func (c *confinement) release(g *cage) error {
	if g == nil {
		return nil
	}
	return c.groups.Drop(g.group)
}

func (c *confinement) close() error {
	if c == nil {
		return nil
	}
	return c.groups.Close()
}

// A cage bounds the processes of a world.
type cage struct {
	group  *cgroup.Group
	memory int64
	nice   bool // there is no group for the processor
	rlimit bool // there is none for memory
}

// Add bounds a process. Whatever it starts inherits that.
func (c *cage) Add(pid int) error {
	if err := c.group.Add(pid); err != nil {
		return err
	}
	// When the host itself has no memory left, a world's process is the first to go.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0); err != nil {
		return err
	}
	if c.rlimit {
		if err := c.limitMemory(pid); err != nil {
			return fmt.Errorf("limit memory of pid %d: %w", pid, err)
		}
	}
	if c.nice {
		return renice(pid, lowestPriority)
	}
	return nil
}

// Hurry lets processes of the world have real-time priority, and Calm takes it back.
func (c *cage) Hurry()      { c.group.Hurry() }
func (c *cage) Calm() error { return c.group.Calm() }

// limitMemory lets each process take only so much more than it has. The limit
// is of private writable mappings, setrlimit(2): address space alone, which Go
// and Java reserve by the gigabyte, does not count. Lowering a limit needs no
// privilege but being the same user.
func (c *cage) limitMemory(pid int) error {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return err
	}
	most := uint64(status.Data + c.memory)
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &was); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	now := unix.Rlimit{Cur: min(was.Cur, most), Max: min(was.Max, most)}
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, unix.RLIMIT_DATA, &now, nil))
}

// Holds returns an error when one of the threads is not in the group.
func (c *cage) Holds(tids []int) error { return c.group.Holds(tids) }
