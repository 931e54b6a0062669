//go:build linux

package image

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/pilotexec/pilot/internal/sys"
)

// A job is one file whose content is to be brought up to date.
type job struct {
	path string
	src  sys.FD // closed when it is done
	dev  *device
	fi   sys.FileInfo
	ino  *inode
}

// A pool does jobs while production stands: its processors are free.
type pool struct {
	im   *Image
	ctx  context.Context
	jobs chan job
	wg   sync.WaitGroup
	self *worker // for what is not worth handing over

	mu  sync.Mutex // guards what follows
	err error      // the first
}

const (
	maxWorkers = 8
	// littleWork is a file that takes no longer than waking somebody up.
	littleWork = 64 << 10
)

// errOther stops the walk when a job failed.
var errOther = errors.New("another file failed")

func workers() int { return min(maxWorkers, runtime.NumCPU()) }

// newPool starts workers. The caller waits for the pool.
func (im *Image) newPool(ctx context.Context) *pool {
	p := &pool{im: im, ctx: ctx, jobs: make(chan job, 1024), self: im.worker(ctx)}
	for range workers() {
		p.wg.Go(p.work)
	}
	return p
}

func (p *pool) do(j job) error {
	if p.failed() != nil {
		return errors.Join(errOther, j.src.Close())
	}
	if j.fi.Size <= littleWork {
		return p.one(p.self, j)
	}
	p.jobs <- j
	return nil
}

func (p *pool) work() {
	var w *worker
	for j := range p.jobs {
		if w == nil {
			w = &worker{ctx: p.ctx, frozen: true, track: p.im.track, buf: newBuffers(), pass: &Pass{}}
		}
		if p.failed() != nil {
			_ = j.src.Close()
			continue
		}
		if err := p.one(w, j); err != nil {
			p.mu.Lock()
			if p.err == nil {
				p.err = err
			}
			p.mu.Unlock()
		}
	}
	if w != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.im.cur.add(w.pass)
	}
}

func (p *pool) one(w *worker, j job) error {
	defer j.src.Close()
	if err := w.content(j.src, j.dev, j.fi, j.ino); err != nil {
		return (&walker{}).at(&found{root: j.path}, err)
	}
	return nil
}

func (p *pool) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// wait returns when nothing works any more, with the first error.
func (p *pool) wait() error {
	close(p.jobs)
	p.wg.Wait()
	return p.err
}
