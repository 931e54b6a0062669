//go:build linux

// Package osthread runs functions on one OS thread that does nothing else:
// for ptrace, whose tracees belong to a thread, and for threads that live in
// other namespaces and must never be given back to the runtime.
package osthread

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// The main goroutine keeps the leading thread, whose namespaces /proc shows as
// those of the process: were a Thread to run there and leave them, the agent
// would look like a process of a world, to itself and to others.
func init() { runtime.LockOSThread() }

// A Thread executes functions one at a time, all on the same OS thread.
type Thread struct {
	requests chan func()
	done     chan struct{}
	tid      int
}

// New starts a thread.
func New() *Thread {
	t := &Thread{requests: make(chan func()), done: make(chan struct{})}
	born := make(chan struct{})
	go t.run(born)
	<-born
	return t
}

// run serves requests. Its OS thread is never unlocked: one that holds tracees,
// or that has left our namespaces, must die with the loop.
func (t *Thread) run(born chan struct{}) {
	runtime.LockOSThread()
	if t.tid = syscall.Gettid(); t.tid == os.Getpid() {
		// The main thread never ends: the runtime parks it (mexit). While this
		// one is locked to it, another goroutine gets another thread.
		again := make(chan struct{})
		go t.run(again)
		<-again
		runtime.UnlockOSThread()
		close(born)
		return
	}
	close(born)
	defer close(t.done)
	for request := range t.requests {
		request()
	}
}

// Do runs fn on the thread and returns its result. fn must not call Do.
func (t *Thread) Do(fn func() error) error {
	result := make(chan error, 1)
	t.requests <- func() { result <- fn() }
	return <-result
}

// endTime bounds the wait for the end of a thread, which takes a processor.
const endTime = time.Second

// Close ends the thread. When it returns the kernel has let go of its tracees.
func (t *Thread) Close() {
	close(t.requests)
	<-t.done
	for deadline := time.Now().Add(endTime); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		if syscall.Tgkill(os.Getpid(), t.tid, 0) != nil {
			return
		}
	}
}
