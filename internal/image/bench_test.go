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

// BenchmarkFreezeEtcd measures the part of a snapshot that needs the pause.
func BenchmarkFreezeEtcd(b *testing.B) {
	for _, settles := range []int{0, 1, 2} {
		b.Run(fmt.Sprintf("settle=%d", settles), func(b *testing.B) {
			var freeze, worst time.Duration
			var stats Stats
			for range b.N {
				dir := b.TempDir()
				e := newEtcdLike(b, dir+"/src")
				stop, done := make(chan struct{}), make(chan struct{})
				go e.run(stop, done)
				im, err := Prepare(context.Background(), dir+"/image", []string{dir + "/src"})
				must(b, err)
				for range settles {
					must(b, im.Settle(context.Background()))
				}
				close(stop)
				<-done
				must(b, im.Freeze(context.Background(), nil, nil))
				stats = im.Stats()
				freeze += stats.Freeze.Duration
				worst = max(worst, stats.Freeze.Duration)
				tree, err := im.World(context.Background(), dir+"/world")
				must(b, err)
				mustEqual(b, dir+"/src", tree.Roots[0].Path)
				e.wal.Close()
				e.db.Close()
				must(b, os.RemoveAll(dir))
			}
			b.ReportMetric(float64(freeze.Microseconds())/float64(b.N)/1000, "freeze-ms")
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
			b.ReportMetric(float64(stats.Freeze.Compared>>10), "compared-KiB")
			b.ReportMetric(float64(stats.Freeze.Copied>>10), "copied-KiB")
		})
	}
}

// BenchmarkFreezeSweep measures the walk over files that did not change.
func BenchmarkFreezeSweep(b *testing.B) {
	dir := b.TempDir()
	const files = 10000
	for i := range files {
		path := fmt.Sprintf("%s/src/%02d/%d", dir, i%100, i)
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
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
}
