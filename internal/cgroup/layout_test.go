//go:build linux

package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
)

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		file    string
		unified string // cgroup.controllers of a version 2 root
		want    []Hierarchy
	}{
		{"mountinfo-v1", "hugetlb\n", []Hierarchy{
			{1, "/sys/fs/cgroup/cpu", "/", []string{"cpu"}},
			{1, "/sys/fs/cgroup/memory", "/", []string{"memory"}},
			{1, "/sys/fs/cgroup/pids", "/", []string{"pids"}},
		}},
		{"mountinfo-v2", "cpuset cpu io memory hugetlb pids rdma\n", []Hierarchy{
			{2, "/sys/fs/cgroup", "/", []string{"cpu", "memory", "pids"}},
		}},
		// What version 1 does not have mounted, version 2 may have.
		{"mountinfo-hybrid", "pids\n", []Hierarchy{
			{2, "/sys/fs/cgroup/unified", "/", []string{"pids"}},
			{1, "/sys/fs/cgroup/cpu,cpuacct", "/", []string{"cpu"}},
			{1, "/sys/fs/cgroup/memory", "/", []string{"memory"}},
		}},
		// Read-only, as container engines mount them, is of no use.
		{"mountinfo-container", "cpu memory", []Hierarchy{{1, "/mnt/memory", "/docker/4f1c", []string{"memory"}}}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		mounts, err := procfs.ParseMountinfo(text)
		if err != nil {
			t.Fatal(err)
		}
		got := Layout(mounts, func(path string) ([]byte, error) {
			if !strings.HasSuffix(path, "/cgroup.controllers") {
				return nil, fs.ErrNotExist
			}
			return []byte(c.unified), nil
		})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.file, got, c.want)
		}
	}
}

// tree makes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLimit(t *testing.T) {
	l := Limits{Memory: 64 << 20, PIDs: 500, CPUWeight: 2}
	for version, files := range []map[string]string{
		1: {"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864", "pids.max": "500", "cpu.shares": "20"},
		2: {"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "500", "cpu.weight": "2"},
	} {
		empty := map[string]string{}
		for name := range files {
			empty[name] = ""
		}
		dir := tree(t, empty)
		for _, c := range controllers {
			if version == 0 {
				break
			}
			if err := limit(dir, version, c, l); err != nil {
				t.Error(err)
			}
		}
		for name, want := range files {
			if got := content(t, filepath.Join(dir, name)); got != want {
				t.Errorf("%s holds %q, want %q", name, got, want)
			}
		}
	}
	// A kernel without swap has no file for it, one without the controller none at all.
	if err := limit(tree(t, map[string]string{"memory.max": ""}), 2, "memory", l); err != nil {
		t.Error(err)
	}
	if err := limit(t.TempDir(), 1, "memory", l); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestYield(t *testing.T) {
	for _, c := range []struct {
		version int
		files   map[string]string // before
		file    string
		want    string
	}{
		{1, map[string]string{"cpu.idle": "0", "cpu.shares": "1024"}, "cpu.idle", "1"},
		{2, map[string]string{"cpu.idle": "0", "cpu.weight": "100"}, "cpu.idle", "1"},
		{1, map[string]string{"cpu.shares": "1024"}, "cpu.shares", "20"},
		{2, map[string]string{"cpu.weight": "100"}, "cpu.weight", "2"},
	} {
		dir := tree(t, c.files)
		r := &Run{places: []place{
			{Hierarchy: Hierarchy{Version: 1, Controllers: []string{"memory"}}, dir: t.TempDir()},
			{Hierarchy: Hierarchy{Version: c.version, Controllers: []string{"cpu"}}, dir: dir},
		}}
		if err := r.Yield(); err != nil {
			t.Error(err)
		}
		if got := content(t, filepath.Join(dir, c.file)); !strings.HasPrefix(got, c.want) {
			t.Errorf("version %d: %s holds %q, want %q", c.version, c.file, got, c.want)
		}
	}
}

func TestDelegate(t *testing.T) {
	dir := tree(t, map[string]string{"a/cgroup.subtree_control": "cpu memory\n", "b/cgroup.subtree_control": ""})
	for _, name := range []string{"a", "b"} {
		if err := delegate(filepath.Join(dir, name), "memory"); err != nil {
			t.Error(err)
		}
	}
	if got := content(t, filepath.Join(dir, "a/cgroup.subtree_control")); got != "cpu memory\n" {
		t.Errorf("what was enabled is written again: %q", got)
	}
	if got := content(t, filepath.Join(dir, "b/cgroup.subtree_control")); got != "+memory" {
		t.Errorf("got %q", got)
	}
}

// group is the place of a test with the files of one group.
func groupOf(dir string, version int) *Group {
	return &Group{places: []place{{Hierarchy: Hierarchy{Version: version, Controllers: []string{"memory"}}, dir: dir}}}
}

func TestUsage(t *testing.T) {
	v1 := tree(t, map[string]string{
		"memory.usage_in_bytes": "4096\n", "memory.max_usage_in_bytes": "8192\n",
		"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
	})
	v2 := tree(t, map[string]string{"memory.current": "4096\n", "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"})
	for _, c := range []struct {
		g    *Group
		want Usage
	}{
		{groupOf(v1, 1), Usage{4096, 8192, 3}},
		{groupOf(v2, 2), Usage{4096, 0, 1}}, // memory.peak came with 5.19
		{&Group{}, Usage{}},
	} {
		if got, err := c.g.Usage(); err != nil || got != c.want {
			t.Errorf("got %+v, %v, want %+v", got, err, c.want)
		}
	}
}

func TestHolds(t *testing.T) {
	dir := tree(t, map[string]string{"tasks": "10\n11\n", "cgroup.threads": "10\n"})
	if err := groupOf(dir, 1).Holds([]int{10, 11}); err != nil {
		t.Error(err)
	}
	if err := groupOf(dir, 2).Holds([]int{10, 11}); err == nil || !strings.Contains(err.Error(), "thread 11 is not in the group") {
		t.Errorf("got %v", err)
	}
}

func TestHeadroom(t *testing.T) {
	const none = "9223372036854771712\n"
	v1 := tree(t, map[string]string{
		"memory.limit_in_bytes":     none,
		"a/memory.limit_in_bytes":   "1000\n",
		"a/memory.usage_in_bytes":   "900\n",
		"a/memory.stat":             "cache 1\ntotal_inactive_file 50\n",
		"a/b/memory.limit_in_bytes": none,
	})
	v2 := tree(t, map[string]string{
		"a/memory.max": "max\n", "a/memory.current": "1\n",
		"a/b/memory.max": "1000\n", "a/b/memory.current": "1900\n", "a/b/memory.stat": "inactive_file 10\n",
		"a/c/cgroup.procs": "",
	})
	for _, c := range []struct {
		h     Hierarchy
		paths string
		room  int64
		group string
	}{
		{Hierarchy{1, v1, "/", []string{"memory"}}, "5:memory:/a/b\n0::/x\n", 150, "/a"},
		{Hierarchy{1, v1, "/docker/1", []string{"memory"}}, "5:memory:/docker/1/a\n", 150, "/a"},
		{Hierarchy{1, v1, "/docker/1", []string{"memory"}}, "5:memory:/elsewhere\n", Unlimited, ""},
		{Hierarchy{2, v2, "/", []string{"cpu", "memory"}}, "5:memory:/x\n0::/a/b\n", 0, "/a/b"},
		{Hierarchy{2, v2, "/", []string{"memory"}}, "0::/a/c\n", Unlimited, ""},
		{Hierarchy{2, v2, "/", []string{"cpu"}}, "0::/a/b\n", Unlimited, ""},
	} {
		groups, err := procfs.ParseMemberships([]byte(c.paths))
		if err != nil {
			t.Fatal(err)
		}
		room, group, err := Headroom([]Hierarchy{c.h}, groups)
		if err != nil || room != c.room || group != c.group {
			t.Errorf("%q: got %d in %q, %v, want %d in %q", c.paths, room, group, err, c.room, c.group)
		}
	}
}
