//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
)

// Find resolves processes to members: those with the given pids, and those
// whose executable's base name is match or whose command line contains it. Pilot
// itself, and what it was started by, never matches.
func (Engine) Find(_ context.Context, match string, pids []int) (members []model.Member, err error) {
	for _, pid := range pids {
		m, err := memberOf(pid)
		if err != nil {
			return nil, &model.RefusedError{Refusals: []model.Refusal{{
				PID: pid, Object: "process", Why: "does not exist",
				Hint: "pilot doctor --match NAME lists what is running",
			}}}
		}
		members = append(members, m)
	}
	if match == "" {
		return named(members), nil
	}
	ours := ancestors(os.Getpid())
	var byName, byArg []model.Member
	for _, pid := range processes() {
		if ours[pid] {
			continue
		}
		m, err := memberOf(pid)
		if err != nil || len(m.Args) == 0 {
			continue
		}
		switch {
		case filepath.Base(m.Exe) == match || filepath.Base(m.Args[0]) == match:
			byName = append(byName, m)
		case strings.Contains(strings.Join(m.Args, " "), match) && !isShell(m.Exe):
			byArg = append(byArg, m)
		}
	}
	// A program's name says more than a word that happens to be in arguments.
	if len(byName) > 0 {
		return named(append(members, byName...)), nil
	}
	return named(append(members, byArg...)), nil
}

// isShell keeps scripts and editors that only talk of the cluster out.
func isShell(exe string) bool {
	switch filepath.Base(exe) {
	case "sh", "bash", "dash", "zsh", "fish", "ssh", "sudo", "su", "vim", "less", "tail", "grep", "tmux":
		return true
	}
	return false
}

func memberOf(pid int) (m model.Member, err error) {
	m.PID = pid
	stat, err := procfs.ReadStat(pid)
	if err != nil {
		return m, err
	}
	m.StartTime = stat.StartTime
	m.Exe, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	m.Dir, _ = os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	m.Args, err = procfs.Cmdline(pid)
	return m, err
}

func ancestors(pid int) map[int]bool {
	out := map[int]bool{}
	for pid > 0 && !out[pid] {
		out[pid] = true
		stat, err := procfs.ReadStat(pid)
		if err != nil {
			break
		}
		pid = stat.PPID
	}
	return out
}

// named gives members names: the value of their --name flag, or the program's
// with the pid.
func named(members []model.Member) []model.Member {
	slices.SortFunc(members, func(a, b model.Member) int { return a.PID - b.PID })
	members = slices.CompactFunc(members, func(a, b model.Member) bool { return a.PID == b.PID })
	for i := range members {
		if m := &members[i]; m.Name == "" {
			m.Name = nameOf(m)
		}
	}
	return members
}

func nameOf(m *model.Member) string {
	for i, a := range m.Args {
		flag, value, ok := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if flag != "name" && flag != "server_name" || !strings.HasPrefix(a, "-") {
			continue
		}
		if !ok && i+1 < len(m.Args) {
			value = m.Args[i+1]
		}
		if value != "" {
			return value
		}
	}
	// Not the executable: several programs may be links to one file.
	return fmt.Sprintf("%s-%d", comm(m.PID), m.PID)
}

// Doctor tells of each member whether it can be piloted.
func (e Engine) Doctor(ctx context.Context, spec model.Spec) (out []model.Diagnosis, err error) {
	if err := requireRoot(); err != nil {
		return nil, err
	}
	if pid, mounts, ok := e.elsewhere(spec.Members); ok {
		return e.doctorInside(ctx, pid, mounts, spec)
	}
	if refusals := checkHost(); len(refusals) > 0 {
		return []model.Diagnosis{{Refusals: refusals}}, nil
	}
	all, err := examine(spec.Members, e.mounts)
	if err != nil {
		return nil, err
	}
	members := withData(spec.Members, all)
	unable, host := e.checkMembers(all)
	if len(host) > 0 {
		out = append(out, model.Diagnosis{Refusals: host})
	}
	groups, err := confine(fmt.Sprintf("doctor-%d", os.Getpid()), model.Limits{MaxMemory: 1 << 30}, usualWorlds)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(groups.measure(all), groups.close()); err != nil {
		return nil, err
	}
	room, err := doctorRoom(all, spec.Limits)
	if err != nil {
		return nil, err
	}
	for i, f := range all {
		d := model.Diagnosis{Member: members[i]}
		if !members[i].Down() {
			d.Threads, d.Resident, d.Collapse = len(f.TIDs), f.Resident, collapsible(f.ProcessFacts)
			d.Refusals, d.Gaps, d.Objects = f.preflight()
			d.Predicted = plan.Predict(f.ProcessFacts)
			for _, r := range unable {
				if r.PID == members[i].PID {
					d.Refusals = append(d.Refusals, r)
				}
			}
		}
		if i == 0 {
			d.Gaps = append(d.Gaps, plan.HostGaps(readHost())...)
		}
		for _, refusal := range room {
			// What is the host's stands with the first.
			if refusal.PID == members[i].PID && refusal.PID != 0 || refusal.PID == 0 && i == 0 {
				d.Refusals = append(d.Refusals, refusal)
			}
		}
		d.DataBytes = size(members[i].Data)
		var unfit []model.Refusal
		if d.Data, unfit, err = dataWays(ctx, members[i].Data, e.mounts); err != nil {
			return nil, err
		}
		d.Refusals = append(d.Refusals, unfit...)
		out = append(out, d)
	}
	return out, nil
}

// doctorRoom tells whether there is room for a run of these members. Where its
// files will be is not known yet, but that is below the user's directory unless
// something else is asked for.
func doctorRoom(all []facts, l model.Limits) ([]model.Refusal, error) {
	if len(all) == 0 {
		return nil, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	reading, err := readLoad(home)
	if err != nil {
		return nil, fmt.Errorf("read the host: %w", err)
	}
	l = plan.Limits(l, reading.Room, usualWorlds)
	return plan.RefuseRoom(processFacts(all), l, reading.Room, usualWorlds, 1), nil
}

func size(paths []string) (total int64) {
	for _, p := range paths {
		_ = filepath.WalkDir(p, func(_ string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if fi, err := e.Info(); err == nil {
					total += fi.Size()
				}
			}
			return nil
		})
	}
	return total
}

// Sweep erases what agents that died have left: the files of their worlds in
// workDirs, their control groups, and their memory in production. Processes and namespaces die with
// their agent, and helper threads end themselves.
func (Engine) Sweep(ctx context.Context, workDirs []string) (erased []string, err error) {
	for _, dir := range workDirs {
		for _, sub := range []string{"image", "worlds"} {
			path := filepath.Join(dir, sub)
			if _, err := os.Lstat(path); err != nil {
				continue
			}
			if err := image.Sweep(path); err != nil {
				return erased, err
			}
			erased = append(erased, path)
		}
	}
	if os.Geteuid() != 0 {
		return erased, nil
	}
	hierarchies, err := cgroup.Find()
	if err != nil {
		return erased, err
	}
	groups, err := cgroup.Sweep(hierarchies)
	var names []string // one run has a group in each hierarchy
	for _, dir := range groups {
		names = append(names, "control group "+filepath.Base(dir))
	}
	slices.Sort(names)
	if erased = append(erased, slices.Compact(names)...); err != nil {
		return erased, err
	}
	tracer := osthread.New()
	defer tracer.Close()
	for _, pid := range processes() {
		if ctx.Err() != nil {
			return erased, ctx.Err()
		}
		if procfs.Tracer(pid) != 0 {
			continue // a living agent's
		}
		found := false
		err := tracer.Do(func() (err error) {
			found, err = tracee.Sweep(pid)
			return err
		})
		if found && err != nil {
			return erased, fmt.Errorf("sweep pid %d: %w", pid, err)
		}
		if found {
			erased = append(erased, fmt.Sprintf("memory in pid %d", pid))
		}
	}
	return erased, nil
}

// processes lists the processes of the agent's pid namespace, but itself.
func processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
