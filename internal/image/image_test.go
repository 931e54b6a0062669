//go:build linux

package image

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/sys"
)

// TestMain fails when a descriptor was left open.
func TestMain(m *testing.M) {
	if arg := os.Getenv(victimEnv); arg != "" {
		victim(arg)
	}
	before := len(descriptors())
	code := m.Run()
	if after := descriptors(); len(after) > before+3 { // epoll, eventfd and pidfd of the Go runtime
		fmt.Fprintf(os.Stderr, "leaked descriptors: %d before, now %v\n", before, after)
		code = max(code, 1)
	}
	os.Exit(code)
}

func descriptors() (open []string) {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		open = append(open, e.Name()+" "+target)
	}
	return open
}

// A testFS makes empty directories on one file system.
type testFS struct {
	name string
	top  string // of the file system, when it is ours
	dir  func(testing.TB) string
	// source makes an empty directory to be imaged.
	source func(t testing.TB, r *rand.Rand, path string)
}

func plainSource(t testing.TB, _ *rand.Rand, path string) { must(t, os.Mkdir(path, 0o755)) }

// subvolumeSource makes a btrfs subvolume, some with others in it, or a directory
// with some.
func subvolumeSource(t testing.TB, r *rand.Rand, path string) {
	t.Helper()
	shape := r.IntN(3)
	if shape == 0 {
		plainSource(t, r, path)
	} else {
		newSubvolume(t, path)
	}
	if shape < 2 {
		newSubvolume(t, path+"/inner")
		newSubvolume(t, path+"/inner/most")
	}
}

func newSubvolume(t testing.TB, path string) {
	t.Helper()
	if out, err := exec.Command("btrfs", "subvolume", "create", path).CombinedOutput(); err != nil {
		t.Fatalf("btrfs subvolume create: %v\n%s", err, out)
	}
	write(t, path+"/kept", path)
}

// fileSystems are those every test runs on: that of the temporary directory,
// tmpfs, and some that are made for it.
func fileSystems(t testing.TB) []testFS {
	list := []testFS{{"temp", "", func(t testing.TB) string { return t.TempDir() }, plainSource}}
	if info, err := sys.Statfs("/dev/shm"); err == nil && isMemory(info.Magic) {
		list = append(list, testFS{"tmpfs", "", func(t testing.TB) string {
			dir, err := os.MkdirTemp("/dev/shm", "pilot-image-")
			must(t, err)
			t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
			return dir
		}, plainSource})
	} else {
		t.Log("no tmpfs at /dev/shm: not tested there")
	}
	for _, kind := range []string{"ext4", "xfs", "xfs -m reflink=0", "btrfs"} {
		top := loopFS(t, kind)
		if top == "" {
			continue
		}
		dir := func(t testing.TB) string {
			dir, err := os.MkdirTemp(top, "t")
			must(t, err)
			t.Cleanup(func() { must(t, erase(dir)) })
			return dir
		}
		list = append(list, testFS{kind, top, dir, plainSource})
		if kind == "btrfs" {
			list = append(list, testFS{"subvolume", top, dir, subvolumeSource})
		}
	}
	return list
}

// loopFS mounts a new file system of kind, which may have options of mkfs behind it, and returns where, or "" when this
// machine cannot. Where root is promised and mkfs is there, that is an error.
func loopFS(t testing.TB, kind string) string {
	kind, options, _ := strings.Cut(kind, " ")
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
			t.Fatalf("%v: install the tools of %s", err, kind)
		}
		t.Logf("%v: not tested on %s", err, kind)
		return ""
	}
	dir := t.TempDir()
	disk, top := dir+"/disk", dir+"/mnt"
	must(t, os.Mkdir(top, 0o700))
	must(t, os.WriteFile(disk, nil, 0o600))
	must(t, os.Truncate(disk, 2<<30))
	out, err := exec.Command(mkfs, append(strings.Fields(options), "-q", disk)...).CombinedOutput()
	if err == nil {
		out, err = exec.Command("mount", "-o", "loop", disk, top).CombinedOutput()
	}
	if err != nil {
		if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
			t.Fatalf("make a %s: %v\n%s", kind, err, out)
		}
		t.Logf("make a %s: %v: %s: not tested there", kind, err, out)
		return ""
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", top).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", top, err, out)
		}
	})
	return top
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}
