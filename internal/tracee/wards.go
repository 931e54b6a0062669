//go:build linux

package tracee

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// A thread that dies under trace stays, dead, until its tracer takes note of it.
// Until then its process cannot finish an execve(2), and the parent of its
// process does not hear of its end. Worse, PTRACE_SEIZE of another thread waits
// for the execve to finish (cred_guard_mutex, kernel/ptrace.c), so that the
// tracer and production would wait for each other.
//
// So another thread of the agent looks after the dead: wait(2) may be called by
// any thread of the tracer's process. The tracer itself finds that they are gone.

// wardInterval is how often it looks, and how long production may wait for it.
const wardInterval = 5 * time.Millisecond

// wards are the threads of one origin that are traced.
type wards struct {
	pid  int
	wide atomic.Int32 // calls that make it look at every thread of the process

	mu   sync.Mutex
	tids map[int]bool // guarded by mu

	quit, done chan struct{}
}

// watch begins to look after wards of process pid. The caller ends it with close.
func watch(pid int) *wards {
	w := &wards{pid: pid, tids: map[int]bool{}, quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// widen looks at every thread of the process until the result is called: one
// whose birth the tracer missed, because its parent died, is a tracee as well.
func (w *wards) widen() (narrow func()) {
	w.wide.Add(1)
	return func() { w.wide.Add(-1) }
}

func (w *wards) add(tid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tids[tid] = true
}

func (w *wards) run() {
	defer close(w.done)
	tick := time.NewTicker(wardInterval)
	defer tick.Stop()
	for long := false; ; {
		select {
		case <-tick.C:
			wide := w.wide.Load() > 0
			if wide && long { // most calls do not take that long
				tids, _ := procfs.Tasks(w.pid)
				for _, tid := range tids {
					w.add(tid)
				}
			}
			long = wide
			w.reap()
		case <-w.quit:
			return
		}
	}
}

func (w *wards) reap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for tid := range w.tids {
		dead, err := sys.Dead(tid)
		if dead {
			_, _, _ = sys.TryWait(tid)
		}
		if dead || err != nil { // the tracer was quicker, or has let it go
			delete(w.tids, tid)
		}
	}
}

func (w *wards) close() {
	close(w.quit)
	<-w.done
}
