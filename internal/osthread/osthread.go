// Package osthread runs functions on one OS thread that does nothing else:
// for ptrace, whose tracees belong to a thread, and for threads that live in
// other namespaces and must never be given back to the runtime.
package osthread

import "runtime"

// The main goroutine keeps the leading thread, whose namespaces /proc shows as
// those of the process: were a Thread to run there and leave them, the agent
// would look like a process of a world, to itself and to others.
func init() { runtime.LockOSThread() }

// A Thread executes functions one at a time, all on the same OS thread.
type Thread struct {
	requests chan func()
	done     chan struct{}
}

// New starts a thread.
func New() *Thread {
	t := &Thread{requests: make(chan func()), done: make(chan struct{})}
	go func() {
		// Never unlocked: a thread that holds tracees, or that has left our
		// namespaces, must die with the loop.
		runtime.LockOSThread()
		defer close(t.done)
		for request := range t.requests {
			request()
		}
	}()
	return t
}

// Do runs fn on the thread and returns its result. fn must not call Do.
func (t *Thread) Do(fn func() error) error {
	result := make(chan error, 1)
	t.requests <- func() { result <- fn() }
	return <-result
}

// Close ends the thread.
func (t *Thread) Close() {
	close(t.requests)
	<-t.done
}
