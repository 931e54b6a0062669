//go:build linux

package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Group is a child of a run's group, in each hierarchy, and holds processes.
// Its methods may be called by several goroutines.
type Group struct{ places []place }

// Group makes a child. It goes with the run.
func (r *Run) Group(name string, l Limits) (*Group, error) {
	g := &Group{}
	r.groups = append(r.groups, g) // to be removed, also when it is not complete
	for _, p := range r.places {
		child := place{Hierarchy: p.Hierarchy, dir: filepath.Join(p.dir, name)}
		if err := os.Mkdir(child.dir, 0o755); err != nil {
			return nil, err
		}
		g.places = append(g.places, child)
		for _, c := range p.Controllers {
			if err := limit(child.dir, p.Version, c, l); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// limit sets what of l a controller answers for.
func limit(dir string, version int, controller string, l Limits) error {
	set := func(name string, value int64) error {
		return writeFile(filepath.Join(dir, name), strconv.FormatInt(value, 10))
	}
	switch {
	case controller == "memory" && l.Memory > 0 && version == 2:
		if err := set("memory.max", l.Memory); err != nil {
			return err
		}
		return optional(set("memory.swap.max", 0))
	case controller == "memory" && l.Memory > 0:
		if err := set("memory.limit_in_bytes", l.Memory); err != nil {
			return err
		}
		// Memory and swap together: so nothing can be swapped out instead.
		return optional(set("memory.memsw.limit_in_bytes", l.Memory))
	case controller == "pids" && l.PIDs > 0:
		return set("pids.max", int64(l.PIDs))
	case controller == "cpu" && l.CPUWeight > 0 && version == 2:
		return set("cpu.weight", int64(l.CPUWeight))
	case controller == "cpu" && l.CPUWeight > 0:
		return set("cpu.shares", max(2, int64(l.CPUWeight)*1024/100))
	}
	return nil
}

// optional forgives that a file is not there: the kernel has no swap.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Add moves a process with all its threads into the group. What it has in
// memory stays charged to where it was; what it takes from now on is charged to
// the group, and so are all processes that it makes.
func (g *Group) Add(pid int) error {
	for _, p := range g.places {
		if err := writeFile(filepath.Join(p.dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move pid %d: %w", pid, err)
		}
	}
	return nil
}

// Holds returns an error when one of the threads is not in the group. Since a
// thread is in one group of each hierarchy, it is in nobody else's then.
func (g *Group) Holds(tids []int) error {
	for _, p := range g.places {
		file := "tasks"
		if p.Version == 2 {
			file = "cgroup.threads"
		}
		inside, err := numbers(filepath.Join(p.dir, file))
		if err != nil {
			return err
		}
		for _, tid := range tids {
			if !slices.Contains(inside, tid) {
				return fmt.Errorf("thread %d is not in the group %s", tid, p.dir)
			}
		}
	}
	return nil
}

// Processes lists the processes in the group. Without groups there are none.
func (g *Group) Processes() ([]int, error) {
	if len(g.places) == 0 {
		return nil, nil
	}
	return numbers(filepath.Join(g.places[0].dir, "cgroup.procs"))
}

func numbers(file string) (out []int, err error) {
	text, err := readFile(file)
	if err != nil {
		return nil, err
	}
	for word := range bytes.FieldsSeq(text) {
		n, err := strconv.Atoi(string(word))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, n)
	}
	return out, nil
}

// Usage is what a group has taken.
type Usage struct {
	Memory   int64 // bytes, with files that it has read or written
	Peak     int64 // the most so far; 0 when the kernel does not tell
	OOMKills int   // processes that the kernel has killed at the limit
}

// Usage reads the figures of the memory controller, which are zero without it.
func (g *Group) Usage() (u Usage, err error) {
	for _, p := range g.places {
		if !slices.Contains(p.Controllers, "memory") {
			continue
		}
		current, peak, events := "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"
		if p.Version == 2 {
			current, peak, events = "memory.current", "memory.peak", "memory.events"
		}
		if u.Memory, err = number(filepath.Join(p.dir, current)); err != nil {
			return u, err
		}
		if u.Peak, err = number(filepath.Join(p.dir, peak)); optional(err) != nil {
			return u, err
		}
		kills, err := keyed(filepath.Join(p.dir, events), "oom_kill")
		u.OOMKills = int(kills)
		return u, err
	}
	return u, nil
}

// number reads a file that holds one. "max" is as large as can be.
func number(file string) (int64, error) {
	text, err := readFile(file)
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	if word == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

// keyed reads the number behind key in a file of such lines, 0 when it is not
// there.
func keyed(file, key string) (int64, error) {
	text, err := readFile(file)
	if err != nil {
		return 0, err
	}
	for row := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(row), " "); name == key {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, nil
}
