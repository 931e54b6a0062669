//go:build linux

package image

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// An etcdLike writer appends to a preallocated WAL and rewrites random pages of
// a database, with fdatasync, as etcd under load does.
type etcdLike struct {
	wal, db *os.File
	at      int64
	r       *rand.Rand
}

func newEtcdLike(b *testing.B, dir string) *etcdLike {
	r := rand.New(rand.NewPCG(1, 1))
	must(b, os.MkdirAll(filepath.Join(dir, "member/wal"), 0o700))
	must(b, os.MkdirAll(filepath.Join(dir, "member/snap"), 0o700))
	wal, err := os.Create(filepath.Join(dir, "member/wal/0.wal"))
	must(b, err)
	must(b, syscall.Fallocate(int(wal.Fd()), 0, 0, 64<<20))
	db, err := os.Create(filepath.Join(dir, "member/snap/db"))
	must(b, err)
	p := make([]byte, 20<<20)
	for i := 0; i < len(p); i += 8 {
		v := r.Uint64()
		for k := range 8 {
			p[i+k] = byte(v >> (8 * k))
		}
	}
	_, err = wal.WriteAt(p, 0)
	must(b, err)
	_, err = db.WriteAt(p, 0)
	must(b, err)
	must(b, wal.Sync())
	must(b, db.Sync())
	return &etcdLike{wal: wal, db: db, at: 20 << 20, r: r}
}

func (e *etcdLike) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	page := make([]byte, 4096)
	for {
		select {
		case <-stop:
			return
		default:
		}
		for i := range page {
			page[i] = byte(e.r.Uint32())
		}
		if e.at > 40<<20 {
			e.at = 20 << 20
		}
		e.wal.WriteAt(page[:1000], e.at)
		e.at += 1000
		syscall.Fdatasync(int(e.wal.Fd()))
		if e.r.IntN(20) == 0 {
			for range 8 {
				e.db.WriteAt(page, e.r.Int64N(5120)*4096)
			}
			syscall.Fdatasync(int(e.db.Fd()))
		}
	}
}

func (e *etcdLike) files() []*os.File { return []*os.File{e.wal, e.db} }

// A hotFile is written all over, as a database does that is larger than its
// cache.
type hotFile struct {
	file *os.File
	r    *rand.Rand
}

const hotSize = 128 << 20

func newHotFile(b *testing.B, dir string) *hotFile {
	must(b, os.MkdirAll(dir, 0o700))
	f, err := os.Create(dir + "/hot")
	must(b, err)
	h := &hotFile{f, rand.New(rand.NewPCG(2, 2))}
	p := make([]byte, 1<<20)
	for off := int64(0); off < hotSize; off += 1 << 20 {
		p[off>>20] = 1
		_, err := f.WriteAt(p, off)
		must(b, err)
	}
	must(b, f.Sync())
	return h
}

func (h *hotFile) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	page := make([]byte, 8<<10)
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		page[n%len(page)]++
		h.file.WriteAt(page, h.r.Int64N(hotSize/8192)*8192)
		if n%32 == 0 {
			syscall.Fdatasync(int(h.file.Fd()))
		}
	}
}

func (h *hotFile) files() []*os.File { return []*os.File{h.file} }

// A load writes to its files until stop is closed.
type load interface {
	run(stop <-chan struct{}, done chan<- struct{})
	files() []*os.File
}

// start runs l until the returned function is called.
func start(l load) (stop func()) {
	halt, done := make(chan struct{}), make(chan struct{})
	go l.run(halt, done)
	return func() {
		close(halt)
		<-done
	}
}

// rawFreeze does what no image can do without, in the simplest way: a snapshot,
// FICLONE onto the clones made before, or reading the files.
func rawFreeze(b *testing.B, way, src string, l load, clones []sys.FD) time.Duration {
	start := time.Now()
	switch way {
	case waySnapshot:
		must(b, snapshot(src, src+"-raw", true))
		defer func() { must(b, destroy(src+"-raw")) }()
	case wayShare:
		for i, f := range l.files() {
			must(b, sys.Clone(clones[i], sys.FD(f.Fd())))
		}
	default:
		p := make([]byte, window)
		for _, f := range l.files() {
			fd := sys.FD(f.Fd())
			for off, end := nextData(fd, 0, hotSize); off < end; off += window {
				_, err := sys.Pread(fd, p, off)
				must(b, err)
			}
		}
	}
	return time.Since(start)
}

// BenchmarkFreeze measures the part of an image that needs the pause, for files
// as etcd under load has them and for a file that is written all over, by each
// way to do it. Next to it is rawFreeze.
func BenchmarkFreeze(b *testing.B) {
	loads := map[string]func(*testing.B, string) load{
		"etcd": func(b *testing.B, dir string) load { return newEtcdLike(b, dir) },
		"hot":  func(b *testing.B, dir string) load { return newHotFile(b, dir) },
	}
	for _, fs := range fileSystems(b) {
		if fs.name == "tmpfs" || fs.name == "ext4" {
			continue // in memory all is compared; temp is on a disk
		}
		for name, make := range loads {
			b.Run(fs.name+"/"+name, func(b *testing.B) {
				var freeze, worst, raw time.Duration
				var stats Stats
				for range b.N {
					f, r, s := freezeUnder(b, fs, make)
					freeze, raw, worst, stats = freeze+f, raw+r, max(worst, f), s
				}
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(freeze)/float64(b.N), "freeze-ms")
				b.ReportMetric(ms(worst), "worst-ms")
				b.ReportMetric(ms(raw)/float64(b.N), "raw-ms")
				b.ReportMetric(float64(stats.Freeze.Compared>>10), "compared-KiB")
				b.ReportMetric(float64(stats.Freeze.Copied>>10), "copied-KiB")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func freezeUnder(b *testing.B, fs testFS, make func(*testing.B, string) load) (freeze, raw time.Duration, stats Stats) {
	ctx := context.Background()
	dir := fs.dir(b)
	src := dir + "/src"
	if fs.name == "subvolume" {
		newSubvolume(b, src)
	}
	l := make(b, src)
	var clones []sys.FD
	for i := range l.files() {
		fd, err := sys.OpenAt(atCWD, fmt.Sprintf("%s/clone%d", dir, i), syscall.O_CREAT|syscall.O_RDWR, 0o600)
		must(b, err)
		defer fd.Close()
		clones = append(clones, fd)
	}
	stop := start(l)
	im, err := Prepare(ctx, dir+"/image", []string{src})
	must(b, err)
	way := im.Stats().Ways[0].Way
	if way == wayShare {
		rawFreeze(b, way, src, l, clones)
	}
	time.Sleep(100 * time.Millisecond)
	must(b, im.Settle(ctx))
	stop()
	must(b, im.Freeze(ctx, nil, nil))
	stats = im.Stats()
	tree, err := im.World(ctx, dir+"/world")
	must(b, err)
	mustEqual(b, src, tree.Roots[0].Path)

	// The same again, raw: it begins with what a settled image begins with.
	stop = start(l)
	time.Sleep(100 * time.Millisecond)
	if way != wayPatch {
		for _, f := range l.files() {
			must(b, sys.SyncFileRange(sys.FD(f.Fd())))
		}
		rawFreeze(b, way, src, l, clones)
	}
	stop()
	raw = rawFreeze(b, way, src, l, clones)
	must(b, im.Remove())
	for _, f := range l.files() {
		f.Close()
	}
	must(b, erase(dir))
	return stats.Freeze.Duration, raw, stats
}

// BenchmarkFreezeSweep measures the walk over files that did not change.
func BenchmarkFreezeSweep(b *testing.B) {
	dir := b.TempDir()
	const files = 10000
	var names []string
	for i := range files {
		names = append(names, fmt.Sprintf("%02d/%d", i%100, i))
		path := dir + "/src/" + names[i]
		if i < 100 {
			must(b, os.MkdirAll(filepath.Dir(path), 0o755))
		}
		must(b, os.WriteFile(path, []byte(strings.Repeat("x", 100)), 0o644))
	}
	age()
	im, err := Prepare(context.Background(), dir+"/image", []string{dir + "/src"})
	must(b, err)
	b.ResetTimer()
	for range b.N {
		im.frozen = false
		must(b, im.Freeze(context.Background(), nil, nil))
		if n := im.Stats().Freeze.Files; n != 0 {
			b.Fatalf("%d files read again", n)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
	fd, err := sys.OpenAt(atCWD, dir+"/src", syscall.O_DIRECTORY, 0)
	must(b, err)
	defer fd.Close()
	start := time.Now()
	for i := range files {
		_, err := sys.FstatAt(fd, names[i])
		must(b, err)
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/files, "raw-ns/file")
}
