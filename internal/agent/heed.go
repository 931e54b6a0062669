//go:build linux

package agent

import (
	"sync"
	"time"
)

// heedEvery is how late the parent of a member may learn of its end.
const heedEvery = 100 * time.Millisecond

// heed looks after the members until stop is called: see [capture.Snapshot.Heed].
func (r *run) heed() (stop func()) {
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(heedEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				over := false
				_ = r.tracer.Do(func() error { over = r.snap.Heed(); return nil })
				if over {
					r.guard.abandon("ended with the container of the members")
					return
				}
			}
		}
	})
	return func() {
		close(done)
		looking.Wait()
	}
}
