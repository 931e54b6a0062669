//go:build linux

// Package cgroup bounds what a set of processes may take of the host, by
// control groups of version 2, or of version 1 where that is what there is. See
// cgroups(7).
//
// A [Run] is a group of its own below the root that this process sees, with
// children for the processes. What works is found by doing it: a controller
// that cannot be had, or whose limit cannot be set, is left out and named.
// Nothing is done to groups of others, but that controllers are enabled for the
// children of the root where they are not yet.
package cgroup

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
)

// controllers are those that bound a world.
var controllers = []string{"cpu", "memory", "pids"}

// A Hierarchy is one tree of groups, with those of its controllers that matter.
type Hierarchy struct {
	Version     int    // 1 or 2
	Point       string // where its visible root is mounted
	Root        string // that group's path, as /proc/PID/cgroup tells it
	Controllers []string
}

// Layout finds the hierarchies in a list of mounts. read returns the content of
// a file. A controller belongs to one hierarchy only; of several mounts of one
// the first that can be written to is taken.
func Layout(mounts []procfs.Mount, read func(path string) ([]byte, error)) (out []Hierarchy) {
	taken := map[string]bool{}
	for _, m := range mounts {
		if m.ReadOnly() {
			continue
		}
		h := Hierarchy{Point: m.Point, Root: m.Root}
		var has []string
		switch m.FSType {
		case "cgroup":
			h.Version = 1
			has = strings.Split(m.SuperOptions, ",")
		case "cgroup2":
			h.Version = 2
			text, _ := read(filepath.Join(m.Point, "cgroup.controllers"))
			has = strings.Fields(string(text))
		default:
			continue
		}
		for _, c := range controllers {
			if slices.Contains(has, c) && !taken[c] {
				taken[c] = true
				h.Controllers = append(h.Controllers, c)
			}
		}
		if len(h.Controllers) > 0 {
			out = append(out, h)
		}
	}
	return out
}

// Find returns the hierarchies that this process sees.
func Find() ([]Hierarchy, error) {
	mounts, err := procfs.Mountinfo(selfPID())
	if err != nil {
		return nil, err
	}
	return Layout(mounts, readFile), nil
}
