//go:build linux

package tracee

import (
	"os"
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

// wardInterval is how often it looks while there is somebody to look after, and how
// long production may wait for it.
const wardInterval = 5 * time.Millisecond

// wards are the threads of one origin that are traced.
type wards struct {
	pid  int
	wide atomic.Int32 // calls that make it look at every thread of the process

	mu   sync.Mutex
	tids map[int]bool // guarded by mu

	attended []*os.File // by which the kernel tells of an end
	ends     sync.WaitGroup

	wake, quit, done chan struct{}
}

// watch begins to look after wards of process pid. The caller ends it with close.
func watch(pid int) *wards {
	w := &wards{pid: pid, tids: map[int]bool{}, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// widen looks at every thread of the process until the result is called: one
// whose birth the tracer missed, because its parent died, is a tracee as well.
func (w *wards) widen() (narrow func()) {
	if w.wide.Add(1) == 1 {
		w.rouse()
	}
	return func() { w.wide.Add(-1) }
}

func (w *wards) add(tid int) {
	w.mu.Lock()
	first := len(w.tids) == 0
	w.tids[tid] = true
	w.mu.Unlock()
	if first {
		w.rouse()
	}
}

// attend is add for one that is traced for long: where the kernel tells of its end
// (Linux 6.9), nobody looks after it until then: each look also wakes the runtime's
// monitor, which takes more than the look.
func (w *wards) attend(tid int) {
	fd, err := sys.PidfdOpenThread(tid)
	if err != nil {
		w.add(tid)
		return
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	w.attended = append(w.attended, f)
	w.ends.Go(func() {
		if conn, err := f.SyscallConn(); err == nil {
			_ = conn.Read(func(uintptr) bool {
				over, err := sys.PidfdWait(fd, 0)
				return over || err != nil
			})
		}
		w.add(tid) // it has ended, or cannot be waited for, or all is at an end
	})
}

// rouse has run look again whether there is anything to do.
func (w *wards) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wards) restless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tids) > 0 || w.wide.Load() > 0
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
		case <-w.wake:
			w.reap()
			tick.Reset(wardInterval)
		case <-w.quit:
			return
		}
		if !w.restless() {
			tick.Stop() // until it is roused
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
	for _, f := range w.attended {
		_ = f.Close()
	}
	w.ends.Wait()
	close(w.quit)
	<-w.done
}
