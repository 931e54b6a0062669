//go:build linux

package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/hotspot"
)

// javaLimit bounds how long a Java virtual machine is waited for.
const javaLimit = 5 * time.Second

// A javaNames has the Java virtual machines of a world tell the names of their
// code, while the world runs.
type javaNames struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	untold []string
}

// askJava begins with all phantoms of a world that was released.
func (s *side) askJava() *javaNames {
	j := &javaNames{}
	var ctx context.Context
	ctx, j.cancel = context.WithTimeout(context.Background(), javaLimit)
	for _, ph := range s.world.Phantoms() {
		j.wg.Go(func() {
			if !hotspot.Is(ph.HostPID) {
				return
			}
			if err := hotspot.PerfMap(ctx, ph.HostPID, ph.PIDFD); err != nil {
				j.mu.Lock()
				defer j.mu.Unlock()
				j.untold = append(j.untold, fmt.Sprintf("functions of %s in Java have no names: %v", ph.Member.Name, err))
			}
		})
	}
	return j
}

// finish waits for none of them any more, and returns what is missing.
func (j *javaNames) finish() []string {
	if j == nil {
		return nil
	}
	j.cancel()
	j.wg.Wait()
	return j.untold
}
