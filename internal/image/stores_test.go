//go:build linux

package image

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// elsewhere returns a directory for an image that is not on the file system of
// top, and what shows that nothing is left there.
func elsewhere(t *testing.T, top string) (dir string, mustBeClean func()) {
	t.Helper()
	names := func() string {
		list, err := os.ReadDir(top)
		must(t, err)
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	before := names()
	return filepath.Join(t.TempDir(), "image"), func() {
		t.Helper()
		if after := names(); after != before {
			t.Errorf("%s has %q, had %q", top, after, before)
		}
	}
}

func onSharing(t *testing.T, test func(t *testing.T, top string)) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			top := loopFS(t, kind)
			if top == "" {
				t.Skip("no file system that shares blocks")
			}
			test(t, top)
		})
	}
}

// TestStore images from a file system that shares blocks to another one.
func TestStore(t *testing.T) {
	onSharing(t, func(t *testing.T, top string) {
		src := top + "/cluster/node/data"
		write(t, src+"/f", strings.Repeat("f", 1<<20))
		dir, mustBeClean := elsewhere(t, top)
		im, err := Prepare(context.Background(), dir, []string{src})
		must(t, err)
		if dirs := im.Dirs(); len(dirs) != 1 || filepath.Dir(dirs[0]) != top {
			t.Errorf("stores %v, want one at the top, %s", dirs, top)
		}
		write(t, src+"/f", strings.Repeat("g", 1<<20))
		must(t, im.Freeze(context.Background(), nil, nil))
		tree := world(t, im, dir+"-world")
		mustEqual(t, src, tree.Roots[0].Path)
		if s := im.Stats(); s.Prepare.Cloned != 1 || s.Freeze.Cloned != 1 || s.Prepare.Copied+s.Freeze.Copied != 0 {
			t.Errorf("stats %+v, want all shared", s)
		}
		if len(tree.Outer) != 1 || !below(tree.Outer[0], im.Dirs()[0]) {
			t.Errorf("outer directories %v", tree.Outer)
		}
		must(t, im.Remove())
		mustBeClean()
	})
}

// TestSweep erases what an image left whose process was killed.
func TestSweep(t *testing.T) {
	top := loopFS(t, "btrfs")
	if top == "" {
		t.Skip("no btrfs")
	}
	newSubvolume(t, top+"/src")
	dir, mustBeClean := elsewhere(t, top)
	im, err := Prepare(context.Background(), dir, []string{top + "/src"})
	must(t, err)
	must(t, im.Freeze(context.Background(), nil, nil))
	tree := world(t, im, dir+"-world")
	newSubvolume(t, tree.Roots[0].Path+"/new") // a phantom may
	write(t, dir+"/"+recordName, top+"/src\n"+im.Dirs()[0]+"\n"+top+"/pilot-image-cut-of")
	must(t, Sweep(dir))
	mustBeClean()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	must(t, Sweep(dir))
}

// TestNoRoomOutside images a whole file system: no directory of it lies outside.
func TestNoRoomOutside(t *testing.T) {
	onSharing(t, func(t *testing.T, top string) {
		write(t, top+"/f", strings.Repeat("f", 1<<20))
		dir, mustBeClean := elsewhere(t, top)
		before := descriptors()
		im, err := Prepare(context.Background(), dir, []string{top})
		must(t, err)
		mustBeClean()
		write(t, top+"/f", strings.Repeat("g", 1<<20))
		write(t, top+"/g", strings.Repeat("h", 1<<20))
		must(t, im.Settle(context.Background()))
		must(t, im.Freeze(context.Background(), nil, nil))
		if s := im.Stats(); s.Settle.Cloned != 2 || s.Ways[0].Way != wayShare {
			t.Errorf("stats %+v, want two files shared", s)
		}
		tree := world(t, im, dir+"-world")
		mustEqual(t, top, tree.Roots[0].Path)
		write(t, tree.Roots[0].Path+"/f", strings.Repeat("g", 1<<20-1)+"!")
		write(t, tree.Roots[0].Path+"/g", strings.Repeat("h", 1<<20))
		changes, err := im.Diff(context.Background(), tree)
		must(t, err)
		if want := []model.FileChange{{Sign: "~", Path: top + "/f", Old: 1 << 20, New: 1 << 20}}; !slices.Equal(changes, want) {
			t.Errorf("changes %v, want %v", changes, want)
		}
		must(t, im.Remove())
		if after := descriptors(); len(after) > len(before) {
			t.Errorf("descriptors %v, had %v", after, before)
		}
	})
}

// TestSubvolume has all that a snapshot does not hold by itself.
func TestSubvolume(t *testing.T) {
	top := loopFS(t, "btrfs")
	if top == "" {
		t.Skip("no btrfs")
	}
	src := top + "/src"
	for _, p := range []string{src, src + "/inner", src + "/inner/most"} {
		newSubvolume(t, p)
	}
	write(t, src+"/dir/disk/hidden", "hidden")
	if err := syscall.Mount("none", src+"/dir/disk", "tmpfs", 0, ""); err != nil {
		privileged(t, "mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(src+"/dir/disk", 0)) })
	write(t, src+"/dir/disk/shown", "shown")
	l, err := net.Listen("unix", src+"/inner/sock")
	must(t, err)
	defer l.Close()
	old := time.Now().Add(-time.Hour)
	for _, p := range []string{src + "/inner", src + "/dir", src} {
		must(t, os.Chtimes(p, old, old))
	}
	dir, mustBeClean := elsewhere(t, top)
	im, err := Prepare(context.Background(), dir, []string{src, src + "/inner/most"})
	must(t, err)
	must(t, im.Settle(context.Background()))
	write(t, src+"/inner/late", "late")
	must(t, im.Freeze(context.Background(), nil, nil))
	tree := world(t, im, dir+"-world")
	mustEqual(t, src, tree.Roots[0].Path)
	var ways []string
	for _, w := range im.Stats().Ways {
		ways = append(ways, w.FS+" "+w.Way)
	}
	if want := []string{"btrfs snapshot", "tmpfs copy and compare", "btrfs snapshot", "btrfs snapshot"}; !slices.Equal(sorted(ways), sorted(want)) {
		t.Errorf("ways %q, want %q", ways, want)
	}
	if got := im.Stats().Skipped; !slices.Equal(got, []string{src + "/inner/sock"}) {
		t.Errorf("skipped %v", got)
	}
	w := tree.Roots[0].Path
	write(t, w+"/inner/late", "changed")
	write(t, tree.Roots[1].Path+"/new", "new")
	must(t, os.Remove(w+"/dir/disk/shown"))
	changes, err := im.Diff(context.Background(), tree)
	must(t, err)
	if want := []model.FileChange{
		{Sign: "-", Path: src + "/dir/disk/shown", Old: 5},
		{Sign: "~", Path: src + "/inner/late", Old: 4, New: 7},
		{Sign: "+", Path: src + "/inner/most/new", New: 3},
	}; !slices.Equal(changes, want) {
		t.Errorf("changes %v, want %v", changes, want)
	}
	must(t, im.Remove())
	mustBeClean()
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// TestLateParts adds what a snapshot leaves out, behind the image's back.
func TestLateParts(t *testing.T) {
	top := loopFS(t, "btrfs")
	if top == "" {
		t.Skip("no btrfs")
	}
	for name, add := range map[string]func(t *testing.T, path string){
		"subvolume": func(t *testing.T, path string) {
			newSubvolume(t, path)
		},
		"mount": func(t *testing.T, path string) {
			must(t, os.Mkdir(path, 0o700))
			must(t, syscall.Mount("none", path, "tmpfs", 0, ""))
			t.Cleanup(func() { must(t, syscall.Unmount(path, 0)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := top + "/" + name
			newSubvolume(t, src)
			im, err := Prepare(context.Background(), top+"/image-"+name, []string{src})
			must(t, err)
			add(t, src+"/late")
			must(t, im.Freeze(context.Background(), nil, nil))
			if _, err := im.World(context.Background(), top+"/world-"+name); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), src+"/late") {
				t.Errorf("error %v, want ErrForeign naming %s/late", err, src)
			}
			must(t, im.Remove())
		})
	}
}

// TestNoCow images files that btrfs does not copy on write.
func TestNoCow(t *testing.T) {
	top := loopFS(t, "btrfs")
	if top == "" {
		t.Skip("no btrfs")
	}
	must(t, os.Mkdir(top+"/src", 0o755))
	if out, err := exec.Command("chattr", "+C", top+"/src").CombinedOutput(); err != nil {
		t.Fatalf("chattr: %v\n%s", err, out)
	}
	write(t, top+"/src/db", strings.Repeat("d", 1<<20))
	im := frozen(t, top, top+"/src")
	defer func() { must(t, im.Remove()) }()
	tree := world(t, im, top+"/world")
	mustEqual(t, top+"/src", tree.Roots[0].Path)
	if s := im.Stats(); s.Prepare.Cloned != 1 {
		t.Errorf("stats %+v, want it shared", s)
	}
	if out, err := exec.Command("lsattr", tree.Roots[0].Path+"/db").CombinedOutput(); err != nil || !strings.Contains(strings.Fields(string(out))[0], "C") {
		t.Errorf("lsattr of the world's: %s, %v", out, err)
	}
}

// TestLargeFile changes a file that several threads patch, or that is dearer to
// share than to copy.
func TestLargeFile(t *testing.T) {
	const size = 5*segment + 12345
	onEach(t, func(t *testing.T, base string) {
		r := rand.New(rand.NewPCG(7, 7))
		path := base + "/src/db"
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		write(t, path, string(p))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
		must(t, err)
		for range 50 {
			_, err := f.WriteAt(p[:r.IntN(40000)], r.Int64N(size-40000))
			must(t, err)
		}
		const punch = 0x03 // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
		must(t, syscall.Fallocate(int(f.Fd()), punch, segment-8192, 16384))
		for _, ino := range im.inodes {
			ino.sharing = time.Hour
		}
		must(t, im.Freeze(context.Background(), nil, nil))
		if s := im.Stats(); s.Freeze.Cloned != 0 || s.Freeze.Copied == 0 {
			t.Errorf("freeze did %+v", s.Freeze)
		}
		mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
		must(t, im.Remove())
	})
}

// TestForget erases one world of two, also what it has outside of its directory.
func TestForget(t *testing.T) {
	onSharing(t, func(t *testing.T, top string) {
		src := top + "/cluster/node/data"
		write(t, src+"/f", strings.Repeat("f", 1<<20))
		dir, mustBeClean := elsewhere(t, top)
		im, err := Prepare(context.Background(), dir, []string{src})
		must(t, err)
		must(t, im.Freeze(context.Background(), nil, nil))
		gone, kept := world(t, im, dir+"-gone"), world(t, im, dir+"-kept")
		if len(gone.Outer) != 1 || len(kept.Outer) != 1 {
			t.Fatalf("outer directories %v and %v", gone.Outer, kept.Outer)
		}
		must(t, im.Forget(gone))
		if _, err := os.Lstat(gone.Outer[0]); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone.Outer[0], err)
		}
		mustEqual(t, src, kept.Roots[0].Path)
		mustEqual(t, src, world(t, im, dir+"-third").Roots[0].Path)
		must(t, im.Forget(gone)) // again is no error
		must(t, im.Remove())
		mustBeClean()
	})
}
