//go:build linux

package image

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
)

// onEach runs a test on every file system, in an empty directory.
func onEach(t *testing.T, test func(t *testing.T, base string)) {
	for _, fs := range fileSystems(t) {
		t.Run(fs.name, func(t *testing.T) { test(t, fs.dir(t)) })
	}
}

// frozen prepares and freezes sources.
func frozen(t testing.TB, base string, sources ...string) *Image {
	t.Helper()
	im, err := Prepare(context.Background(), filepath.Join(base, "image"), sources)
	must(t, err)
	must(t, im.Freeze(context.Background(), nil, nil))
	return im
}

func world(t testing.TB, im *Image, dir string) *Tree {
	t.Helper()
	tree, err := im.World(context.Background(), dir)
	must(t, err)
	return tree
}

// age waits until nothing just written counts as too young to tell.
func age() { time.Sleep(racyWindow + 2*tick) }

func TestSourcesOverlapAndSingleFiles(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		src := filepath.Join(base, "src")
		write(t, src+"/data/wal/0.wal", "wal")
		write(t, src+"/log/server.log", "log")
		write(t, src+"/log/other.log", "other")
		must(t, os.Link(src+"/data/wal/0.wal", src+"/log/linked"))
		must(t, os.Symlink("data", src+"/current"))
		im := frozen(t, base, src+"/data/wal", src+"/log/server.log", src+"/data", src+"/current", src+"/log/linked")
		tree := world(t, im, base+"/world")
		if len(tree.Roots) != 5 || tree.Roots[3].Path != tree.Roots[2].Path || tree.Roots[0].Path != tree.Roots[2].Path+"/wal" {
			t.Fatalf("roots %v", tree.Roots)
		}
		sameBytes(t, src+"/log/server.log", tree.Roots[1].Path)
		write(t, tree.Roots[4].Path, "changed through the link")
		sameBytes(t, tree.Roots[4].Path, tree.Roots[0].Path+"/0.wal")
		if got, err := os.ReadFile(src + "/data/wal/0.wal"); err != nil || string(got) != "wal" {
			t.Fatalf("the source reads %q, %v", got, err)
		}
	})
}

func TestMountBelowSource(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/src/disk/hidden", "hidden")
	if err := syscall.Mount("none", base+"/src/disk", "tmpfs", 0, ""); err != nil {
		privileged(t, "mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(base+"/src/disk", 0)) })
	write(t, base+"/src/disk/shown", "shown")
	im := frozen(t, base, base+"/src")
	mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
}

func TestSpecialFiles(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/src/file", "x")
	must(t, syscall.Mkfifo(base+"/src/fifo", 0o640))
	l, err := net.Listen("unix", base+"/src/sock")
	must(t, err)
	defer l.Close()
	must(t, os.Symlink("/nowhere", base+"/src/dangling"))
	im := frozen(t, base, base+"/src")
	mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
	if got := im.Stats().Skipped; !slices.Equal(got, []string{base + "/src/sock"}) {
		t.Errorf("skipped %v", got)
	}
}

// TestStoreAfterPass stores to a page that was dirty, and mapped, before the
// live pass: no timestamp tells.
func TestStoreAfterPass(t *testing.T) {
	for _, unmapped := range []bool{true, false} {
		onEach(t, func(t *testing.T, base string) {
			path := base + "/src/f"
			write(t, path, strings.Repeat("a", 8192))
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			mem, err := syscall.Mmap(int(f.Fd()), 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			must(t, err)
			mem[5000] = 'b'
			age()
			im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
			must(t, err)
			mem[5000] = 'c' // no Settle before: its syncfs would do the flush
			writable := []string{path}
			if unmapped {
				must(t, syscall.Munmap(mem))
				writable = nil
			} else {
				defer syscall.Munmap(mem)
			}
			must(t, im.Freeze(context.Background(), writable, nil))
			mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
		})
	}
}

func TestUnchangedFilesAreNotReadAgain(t *testing.T) {
	base := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, base+"/src/"+name, strings.Repeat(name, 100000))
	}
	age()
	im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
	must(t, err)
	must(t, os.Rename(base+"/src/a", base+"/src/z")) // moves ctime, changes no byte
	f, err := os.OpenFile(base+"/src/b", os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("new"), 70000)
	must(t, errors.Join(err, f.Close()))
	must(t, im.Freeze(context.Background(), nil, nil))
	if got := im.Stats().Freeze; got.Files != 2 || got.Copied > block {
		t.Errorf("freeze did %+v, want two files compared and one block copied", got)
	}
	mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
}

func TestClone(t *testing.T) {
	for _, kind := range []string{"xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			top := loopFS(t, kind)
			if top == "" {
				t.Skip("no file system with FICLONE")
			}
			write(t, top+"/src/f", strings.Repeat("f", 100001))
			im, err := Prepare(context.Background(), top+"/image", []string{top + "/src"})
			must(t, err)
			must(t, os.Truncate(top+"/src/f", 65536)) // aligned: FICLONE alone would keep the tail
			write(t, top+"/src/g", strings.Repeat("g", 100001))
			write(t, top+"/src/h", "small")
			must(t, im.Freeze(context.Background(), nil, nil))
			mustEqual(t, top+"/src", world(t, im, top+"/world").Roots[0].Path)
			if s := im.Stats(); s.Prepare.Cloned != 1 || s.Freeze.Cloned != 2 || s.Prepare.Copied != 0 || s.Freeze.Copied != 5 {
				t.Errorf("stats %+v, want one and two files cloned and a small one copied", s)
			}
		})
	}
}

func TestSparseStaysSparse(t *testing.T) {
	base := t.TempDir()
	path := base + "/src/wal"
	write(t, path, strings.Repeat("w", 1<<20))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, syscall.Fallocate(int(f.Fd()), 0, 0, 64<<20))
	im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
	must(t, err)
	const punch = 0x03 // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
	must(t, syscall.Fallocate(int(f.Fd()), punch, 4096, 900<<10))
	must(t, im.Freeze(context.Background(), nil, nil))
	tree := world(t, im, base+"/world")
	mustEqual(t, base+"/src", tree.Roots[0].Path)
	fi, err := sys.Stat(tree.Roots[0].Path + "/wal")
	must(t, err)
	if fi.Blocks*512 > 512<<10 {
		t.Errorf("the copy has %d KiB allocated, want less than 512", fi.Blocks/2)
	}
}

// TestHoleBecomesData writes past the page cache to what was a hole, and behind
// the end. Nothing tells of such pages, and that the copy has a hole there does not
// either: a file system may say that a part is data only since it was read.
func TestHoleBecomesData(t *testing.T) {
	const page, pages = 4096, 4000
	const hole = pages / 2 // far from what a reader of the rest reads ahead
	direct := alignedPages()[:page]
	for i := range direct {
		direct[i] = 'd'
	}
	onEach(t, func(t *testing.T, base string) {
		ctx := context.Background()
		src := filepath.Join(base, "src")
		must(t, os.Mkdir(src, 0o755))
		f, err := os.OpenFile(src+"/f", os.O_RDWR|os.O_CREATE|syscall.O_DIRECT, 0o600)
		if errors.Is(err, syscall.EINVAL) {
			t.Skip("no direct I/O")
		}
		must(t, err)
		defer f.Close()
		for _, at := range []int64{0, pages - 1} {
			_, err := f.WriteAt(direct, at*page)
			must(t, err)
		}
		im, err := Config{Dir: filepath.Join(base, "image"), Sources: []string{src}, TrackFrom: 1}.Prepare(ctx)
		must(t, err)
		for range 2 {
			must(t, im.Settle(ctx))
		}
		for _, ino := range im.inodes {
			if ino.object != "" && !im.devs[ino.fi.Dev].share {
				object, err := os.OpenFile(ino.object, os.O_WRONLY, 0)
				must(t, err)
				_, err = object.WriteAt(make([]byte, page), hole*page)
				must(t, errors.Join(err, object.Close()))
			}
		}
		for _, at := range []int64{hole, pages, pages + 2} {
			_, err := f.WriteAt(direct, at*page)
			must(t, err)
		}
		must(t, im.Freeze(ctx, nil, nil))
		mustEqual(t, src, world(t, im, base+"/world").Roots[0].Path)
		must(t, im.Remove())
	})
}

func TestDeletedFile(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		write(t, base+"/src/kept", "kept")
		f, err := os.Create(base + "/src/tmp")
		must(t, err)
		defer f.Close()
		im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
		must(t, err)
		must(t, os.Remove(base+"/src/tmp"))
		_, err = f.WriteString("unlinked")
		must(t, err)
		fd := procFD(f)
		must(t, im.Freeze(context.Background(), nil, func() map[string]string { return map[string]string{fd: "fd"} }))
		tree := world(t, im, base+"/world")
		sameBytes(t, fd, tree.Deleted["fd"])
		mustEqual(t, base+"/src", tree.Roots[0].Path)
	})
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	base := t.TempDir()
	write(t, base+"/src/f", "x")
	write(t, base+"/full/f", "x")
	for _, tc := range []struct {
		name, dir, source, says string
		want                    error
	}{
		{"missing", "image", "absent", base + "/absent", ErrGone},
		{"image in source", "src/image", "src", base + "/src", ErrRefused},
		{"source in image", ".", "src", "not empty", nil},
		{"not empty", "full", "src", "not empty", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Prepare(ctx, filepath.Join(base, tc.dir), []string{filepath.Join(base, tc.source)})
			if err == nil || !strings.Contains(err.Error(), tc.says) || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v naming %q", err, tc.want, tc.says)
			}
		})
	}
	if _, err := os.Stat(base + "/src/f"); err != nil {
		t.Error(err)
	}

	im, err := Prepare(ctx, base+"/image", []string{base + "/src"})
	must(t, err)
	late, cancel := context.WithTimeout(ctx, -1)
	defer cancel()
	if err := im.Freeze(late, nil, nil); !errors.Is(err, ErrBudget) {
		t.Errorf("late Freeze: %v, want ErrBudget", err)
	}
	if _, err := im.World(ctx, base+"/world"); err == nil {
		t.Error("a world of an image that is not frozen")
	}
	must(t, os.Rename(base+"/src", base+"/moved"))
	must(t, im.Settle(ctx))
	if err := im.Freeze(ctx, nil, nil); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), base+"/src") {
		t.Errorf("Freeze without the source: %v, want ErrGone", err)
	}
	must(t, os.Rename(base+"/moved", base+"/src"))
	must(t, im.Freeze(ctx, nil, nil)) // an image outlives failed tries
	mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
	if err := im.Settle(ctx); !errors.Is(err, errFrozen) {
		t.Errorf("Settle after Freeze: %v", err)
	}
}

// A meddler is a context that runs itself whenever it is asked for its error.
type meddler struct {
	context.Context
	meddle func()
}

func (m meddler) Err() error {
	m.meddle()
	return nil
}

// TestForeignWriter writes while production is said to be stopped.
func TestForeignWriter(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		write(t, base+"/src/f", strings.Repeat("f", 100000))
		im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
		must(t, err)
		im.dropClones()
		ctx := meddler{context.Background(), func() { write(t, base+"/src/f", "g") }}
		if err := im.Freeze(ctx, nil, nil); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), base+"/src/f") {
			t.Errorf("Freeze: %v, want ErrForeign naming the file", err)
		}
		must(t, im.Freeze(context.Background(), nil, nil))
		mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
	})
}

// dropClones makes im copy where it would share blocks.
func (im *Image) dropClones() {
	for _, d := range im.devs {
		d.share = false
	}
}

func TestSpace(t *testing.T) {
	if _, err := checkSpace(t.TempDir(), math.MaxInt64/2); !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), "MiB, have ") {
		t.Errorf("error %v, want ErrSpace with numbers", err)
	}
	if got := needed(100 << 20); got != 174<<20 {
		t.Errorf("needed(100 MiB) = %d MiB", got>>20)
	}
}

// TestDiskFull fills the file system of the copy half-way.
func TestDiskFull(t *testing.T) {
	base := t.TempDir()
	must(t, os.Mkdir(base+"/small", 0o700))
	if err := syscall.Mount("none", base+"/small", "tmpfs", 0, "size=80m"); err != nil {
		privileged(t, "mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(base+"/small", 0)) })
	write(t, base+"/src/a", strings.Repeat("a", 4<<20))
	im, err := Config{Dir: base + "/small/image", Sources: []string{base + "/src"}}.open()
	must(t, err)
	im.areas = []*area{{}}
	write(t, base+"/small/ballast", strings.Repeat("b", 78<<20))
	if err := im.live(context.Background()); !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), base+"/src/a") {
		t.Errorf("error %v, want ErrSpace naming the file", err)
	}
	_, err = Prepare(context.Background(), base+"/small/new", []string{base + "/src"})
	if !errors.Is(err, ErrSpace) {
		t.Errorf("Prepare: %v, want ErrSpace", err)
	}
	if _, err := os.Stat(base + "/small/new"); !os.IsNotExist(err) {
		t.Errorf("the partial copy is still there: %v", err)
	}
}

func TestDiff(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		src := base + "/src"
		for _, name := range []string{"append", "same size", "touched", "gone", "mode", "dir/moved", "mapped", "kept"} {
			write(t, filepath.Join(src, name), strings.Repeat("x", 100000))
		}
		must(t, os.Symlink("a", src+"/link"))
		im := frozen(t, base, src)
		tree := world(t, im, base+"/world")
		w := tree.Roots[0].Path
		f, err := os.OpenFile(w+"/append", os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.WriteString("more")
		must(t, errors.Join(err, f.Close()))
		write(t, w+"/same size", strings.Repeat("x", 99999)+"y")
		write(t, w+"/touched", strings.Repeat("x", 100000))
		must(t, os.Remove(w+"/gone"))
		must(t, os.Chmod(w+"/mode", 0o600))
		must(t, os.Rename(w+"/dir/moved", w+"/new"))
		must(t, os.Remove(w+"/link"))
		must(t, os.Symlink("b", w+"/link"))
		m, err := os.OpenFile(w+"/mapped", os.O_RDWR, 0)
		must(t, err)
		defer m.Close()
		mem, err := syscall.Mmap(int(m.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		must(t, err)
		mem[17] = 'y'
		must(t, syscall.Munmap(mem))
		got, err := im.Diff(context.Background(), tree)
		must(t, err)
		const n = 100000
		want := []model.FileChange{
			{Sign: "~", Path: src + "/append", Old: n, New: n + 4},
			{Sign: "-", Path: src + "/dir/moved", Old: n},
			{Sign: "-", Path: src + "/gone", Old: n},
			{Sign: "~", Path: src + "/link"},
			{Sign: "~", Path: src + "/mapped", Old: n, New: n},
			{Sign: "~", Path: src + "/mode", Old: n, New: n},
			{Sign: "+", Path: src + "/new", New: n},
			{Sign: "~", Path: src + "/same size", Old: n, New: n},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// privileged skips a test that needs root, or fails it where root is promised.
func privileged(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
		t.Fatalf("privileged test cannot run: "+format, args...)
	}
	t.Skipf("needs privileges: "+format, args...)
}

// TestRoom: copies of all bytes need room, and shared blocks do not.
func TestRoom(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		write(t, base+"/src/f", strings.Repeat("f", 100000))
		im, err := Prepare(context.Background(), base+"/image", []string{base + "/src"})
		must(t, err)
		must(t, im.Room(context.Background(), 1))
		copied := im.copied()
		err = im.Room(context.Background(), 1<<40)
		if copied == 0 && err != nil || copied > 0 && (!errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), "MiB, have ")) {
			t.Errorf("a world takes %d bytes; room for very many: %v", copied, err)
		}
		must(t, im.Freeze(context.Background(), nil, nil))
		mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
	})
}

// TestOtherType reads attributes of names that are something else by then: to a
// live walk they have vanished, as it may happen with writers.
func TestOtherType(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/file", "text")
	must(t, os.Symlink("file", base+"/link"))
	must(t, os.Mkdir(base+"/dir", 0o700))
	dir, err := sys.OpenAt(atCWD, base, syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
	must(t, err)
	defer dir.Close()
	look := func(name string) found {
		fi, err := sys.FstatAt(dir, name)
		must(t, err)
		return found{root: base, rel: name, dir: dir, name: name, fi: fi}
	}
	link, file := look("link"), look("file")
	for _, now := range []string{"file", "dir"} {
		f := link
		f.name = now
		if err := readAttrs(&f, &inode{}); !vanished(err) {
			t.Errorf("a link that is a %s now: %v", now, err)
		}
	}
	for _, now := range []string{"link", "gone"} {
		f := file
		f.name = now
		im := &Image{}
		if src, err := im.changed(&f, &inode{attrs: versionOf(&f.fi, time.Time{})}, true); err != nil && !vanished(err) || err == nil && now == "gone" {
			t.Errorf("a file that is a %s now: %v, %v", now, src, err)
		} else if src >= 0 {
			_ = src.Close()
		}
	}
}
