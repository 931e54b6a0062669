//go:build linux

package cgroup

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
)

// Unlimited is the headroom of a process that no group limits.
const Unlimited = math.MaxInt64

// Headroom returns how much more memory the groups of a process let it take,
// and the group that is the narrowest. Files in the cache that were not used
// lately do not count as taken: they go first.
func Headroom(hierarchies []Hierarchy, groups []procfs.Membership) (room int64, group string, err error) {
	room = Unlimited
	i := slices.IndexFunc(hierarchies, func(h Hierarchy) bool { return slices.Contains(h.Controllers, "memory") })
	if i < 0 {
		return room, "", nil
	}
	h := hierarchies[i]
	path, ok := h.path(groups)
	if !ok {
		return room, "", nil
	}
	for {
		left, err := h.left(filepath.Join(h.Point, path))
		// The real root of version 2, and a group without the controller, have
		// no such files.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return room, group, err
		}
		if left < room {
			room, group = left, path
		}
		if path == "/" {
			return room, group, nil
		}
		path = filepath.Dir(path)
	}
}

// path returns where, from the visible root, the hierarchy's group of a process is.
func (h Hierarchy) path(groups []procfs.Membership) (string, bool) {
	for _, m := range groups {
		if h.Version == 2 && m.Controllers == nil || h.Version == 1 && slices.Contains(m.Controllers, "memory") {
			rel, ok := strings.CutPrefix(m.Path, strings.TrimSuffix(h.Root, "/"))
			return "/" + strings.TrimPrefix(rel, "/"), ok
		}
	}
	return "", false
}

// left returns what one group may still take.
func (h Hierarchy) left(dir string) (int64, error) {
	limit, usage, idle := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if h.Version == 2 {
		limit, usage, idle = "memory.max", "memory.current", "inactive_file"
	}
	most, err := number(filepath.Join(dir, limit))
	// Version 1 has no word for none: it is the largest number of whole pages.
	if err != nil || most >= math.MaxInt64-1<<20 {
		return Unlimited, err
	}
	used, err := number(filepath.Join(dir, usage))
	if err != nil {
		return Unlimited, err
	}
	cached, err := keyed(filepath.Join(dir, "memory.stat"), idle)
	return max(0, most-used+cached), err
}
