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

// start runs the writer until the returned function is called.
func (e *etcdLike) start() (stop func()) {
	halt, done := make(chan struct{}), make(chan struct{})
	go e.run(halt, done)
	return func() {
		close(halt)
		<-done
	}
}

// rawFreeze does what no image can do without, in the simplest way: a snapshot,
// FICLONE onto the clones made before, or reading the files.
func rawFreeze(b *testing.B, way, src string, e *etcdLike, clones []sys.FD) time.Duration {
	start := time.Now()
	switch way {
	case waySnapshot:
		must(b, snapshot(src, src+"-raw", true))
		defer func() { must(b, destroy(src+"-raw")) }()
	case wayShare:
		for i, f := range []*os.File{e.wal, e.db} {
			must(b, sys.Clone(clones[i], sys.FD(f.Fd())))
		}
	default:
		p := make([]byte, window)
		for _, f := range []*os.File{e.wal, e.db} {
			for off := int64(0); off < 20<<20; off += window {
				_, err := f.ReadAt(p, off)
				must(b, err)
			}
		}
	}
	return time.Since(start)
}

// BenchmarkFreeze measures the part of an image that needs the pause, of files
// as etcd under load has them, for each way to do it, and next to it rawFreeze.
func BenchmarkFreeze(b *testing.B) {
	for _, fs := range fileSystems(b) {
		if fs.name == "tmpfs" || fs.name == "ext4" {
			continue // in memory all is compared; temp is on a disk
		}
		b.Run(fs.name, func(b *testing.B) {
			var freeze, worst, raw time.Duration
			var stats Stats
			for range b.N {
				f, r, s := freezeEtcd(b, fs)
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

func freezeEtcd(b *testing.B, fs testFS) (freeze, raw time.Duration, stats Stats) {
	ctx := context.Background()
	dir := fs.dir(b)
	src := dir + "/src"
	fs.source(b, rand.New(rand.NewPCG(4, 4)), src) // nothing nested
	e := newEtcdLike(b, src)
	var clones []sys.FD
	for i := range 2 {
		fd, err := sys.OpenAt(atCWD, fmt.Sprintf("%s/clone%d", dir, i), syscall.O_CREAT|syscall.O_RDWR, 0o600)
		must(b, err)
		defer fd.Close()
		clones = append(clones, fd)
	}
	stop := e.start()
	im, err := Prepare(ctx, dir+"/image", []string{src})
	must(b, err)
	way := im.Stats().Ways[0].Way
	if way == wayShare {
		rawFreeze(b, way, src, e, clones)
	}
	time.Sleep(100 * time.Millisecond)
	must(b, im.Settle(ctx))
	stop()
	must(b, im.Freeze(ctx, nil, nil))
	tree, err := im.World(ctx, dir+"/world")
	must(b, err)
	mustEqual(b, src, tree.Roots[0].Path)

	// The same again, raw: it begins with what a settled image begins with.
	stop = e.start()
	time.Sleep(100 * time.Millisecond)
	if way != wayPatch {
		for _, f := range []*os.File{e.wal, e.db} {
			must(b, sys.SyncFileRange(sys.FD(f.Fd())))
		}
		rawFreeze(b, way, src, e, clones)
	}
	stop()
	raw = rawFreeze(b, way, src, e, clones)
	stats = im.Stats()
	must(b, im.Remove())
	e.wal.Close()
	e.db.Close()
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
