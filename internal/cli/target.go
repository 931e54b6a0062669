package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/model"
)

// A target is what the flags say about the cluster and how to treat it.
type target struct {
	file     string
	match    texts
	pids     pids
	data     texts
	settings map[string]string // by name of the flag, those that were given
}

// targetFlags declares the flags that run and doctor share.
func targetFlags(flags *flag.FlagSet) *target {
	t := &target{settings: map[string]string{}}
	flags.StringVar(&t.file, "f", "", "read the cluster from `file` (default pilot.yaml, if there is one)")
	flags.Var(&t.match, "match", "members are processes by executable `name` or part of an argument; repeatable")
	flags.Var(&t.pids, "pid", "members are these `pids`; repeatable, or with commas")
	flags.Var(&t.data, "data", "a copy of `[member=]path` goes into the fork, for data not found by itself; repeatable")
	t.setting(flags, "preset", "members, data and checks of this `system`: auto, none, etcd, redis, zookeeper, nats, kafka")
	t.setting(flags, "max-pause", "stop production for at most this `duration` (default 250ms)")
	t.setting(flags, "max-memory", "memory of this `size` for each fork (default a quarter of what is available)")
	t.setting(flags, "max-disk", "each fork may write data of this `size` (default a quarter of the free space, at most 4G)")
	t.setting(flags, "max-memory-pressure", "end the forks when memory stalls the host for this `share` of time (default 10%)")
	t.setting(flags, "max-io-pressure", "end the forks when disks stall the host for this `share` of time (default 90%)")
	return t
}

// setting declares a flag that overrides a setting of pilot.yaml.
func (t *target) setting(flags *flag.FlagSet, name, usage string) {
	flags.Func(name, usage, func(s string) error {
		t.settings[name] = s
		return config.Default().Set(name, s)
	})
}

// config reads pilot.yaml, then the environment, then the flags.
func (t *target) config(a *app) (*config.Config, error) {
	c, err := t.load(a.Dir)
	if err != nil {
		return nil, &model.UsageError{Err: err, Hint: "docs/config.md describes pilot.yaml"}
	}
	if err := c.Environ(a.Getenv); err != nil {
		return nil, &model.UsageError{Err: err}
	}
	for name, value := range t.settings {
		if err := c.Set(name, value); err != nil {
			return nil, &model.UsageError{Err: fmt.Errorf("%s: %w", dashed(name), err)}
		}
	}
	return c, nil
}

// limits are c's for the worlds.
func limits(c *config.Config) model.Limits {
	return model.Limits{
		MaxMemory: c.MaxMemory, MaxDisk: c.MaxDisk,
		MaxMemoryPressure: c.MemoryPressure, MaxIOPressure: c.IOPressure,
	}
}

// load reads the file that was named, or the default one in dir, the working
// directory if empty, unless flags name the members.
func (t *target) load(dir string) (*config.Config, error) {
	if t.file != "" {
		return config.Load(t.file)
	}
	if len(t.match) > 0 || len(t.pids) > 0 {
		return config.Default(), nil
	}
	path := filepath.Join(dir, config.DefaultFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	return config.Load(path)
}

// path makes p absolute, from the directory of the command.
func (a *app) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	if a.Dir != "" {
		return filepath.Join(a.Dir, p)
	}
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// members finds the members that flags or c name. Flags replace those of c.
func (t *target) members(ctx context.Context, a *app, c *config.Config) ([]model.Member, error) {
	wanted := c.Members
	if len(t.match) > 0 || len(t.pids) > 0 {
		wanted = nil
		for _, m := range t.match {
			wanted = append(wanted, config.Member{Match: m})
		}
		for _, pid := range t.pids {
			wanted = append(wanted, config.Member{PID: pid})
		}
	}
	var members []model.Member
	for _, w := range wanted {
		found, err := a.resolve(ctx, w)
		if err != nil {
			return nil, err
		}
		members = join(members, found)
	}
	distinguish(members)
	return t.addData(a, members)
}

// resolve finds the processes that w describes.
func (a *app) resolve(ctx context.Context, w config.Member) ([]model.Member, error) {
	down := []model.Member{{Name: w.Name, Args: w.Command, Data: w.Data}}
	if w.Match == "" && w.PID == 0 {
		return down, nil
	}
	engine, err := a.engine()
	if err != nil {
		return nil, err
	}
	var ids []int
	if w.PID != 0 {
		ids = []int{w.PID}
	}
	found, err := engine.Find(ctx, w.Match, ids)
	var gone *model.RefusedError
	switch {
	case (len(found) == 0 && err == nil || errors.As(err, &gone)) && len(w.Command) > 0:
		return down, nil
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, notFound(w)
	case w.Name != "" && len(found) > 1:
		return nil, &model.HintError{Err: fmt.Errorf("find %q: member %s could be any of %s", w.Match, w.Name, pidList(found)),
			Hint: "match an argument that only one of them has"}
	}
	for i := range found {
		if w.Name != "" {
			found[i].Name = w.Name
		}
		if len(w.Data) > 0 {
			found[i].Data = w.Data
		}
	}
	return found, nil
}

// notFound refuses a member that does not run, and is not said to be down.
func notFound(w config.Member) error {
	r := model.Refusal{
		PID: w.PID, Object: "process", Why: "does not exist",
		Hint: "ps -ef shows names and arguments; a node that is down is described in pilot.yaml by data and command",
	}
	if w.PID == 0 {
		r.Object, r.Why = fmt.Sprintf("find %q", w.Match), "no process has this name or argument"
	}
	return &model.RefusedError{Refusals: []model.Refusal{r}}
}

func pidList(members []model.Member) string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = fmt.Sprintf("pid %d", m.PID)
	}
	return strings.Join(list, ", ")
}

// join adds to members those of found that are not in it yet.
func join(members, found []model.Member) []model.Member {
	for _, f := range found {
		known := false
		for _, m := range members {
			known = known || !f.Down() && m.PID == f.PID
		}
		if !known {
			members = append(members, f)
		}
	}
	return members
}

// distinguish gives members of one name their pid as a suffix.
func distinguish(members []model.Member) {
	times := map[string]int{}
	for _, m := range members {
		times[m.Name]++
	}
	for i, m := range members {
		if times[m.Name] > 1 && !m.Down() {
			members[i].Name = fmt.Sprintf("%s-%d", m.Name, m.PID)
		}
	}
}

// addData gives members the paths of --data. A name that is not among them is
// a node that is down.
func (t *target) addData(a *app, members []model.Member) ([]model.Member, error) {
	for _, value := range t.data {
		name, path, named := strings.Cut(value, "=")
		if !named || strings.ContainsRune(name, '/') {
			name, path = "", value
		}
		switch {
		case path == "" || a.path(path) == "/":
			return nil, &model.UsageError{Err: fmt.Errorf("--data: %q is not a path that can be copied", value)}
		case name == "" && len(members) != 1:
			return nil, &model.UsageError{Err: fmt.Errorf("--data: whose is %s?", path), Hint: "name the member: --data NAME=" + path}
		}
		at := 0
		for at < len(members) && name != "" && members[at].Name != name {
			at++
		}
		if at == len(members) {
			members = append(members, model.Member{Name: name})
		}
		members[at].Data = append(members[at].Data, a.path(path))
	}
	return members, nil
}
