//go:build linux

package capture

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
)

// quiet keeps our own runtime and the kernel's memory management from making
// production wait, until undo is called: no collection of garbage begins, none is
// under way, and no page of ours has to be read from a disk. Without the right to
// lock memory it is left to chance, which is seen in the report.
func quiet() (undo func()) {
	percent := debug.SetGCPercent(-1)
	runtime.GC() // ends one that is under way, its sweep included
	locked := sys.LockMemory() == nil
	return func() {
		if locked {
			_ = sys.UnlockMemory()
		}
		debug.SetGCPercent(percent)
	}
}

// A cost is what the agent itself has done so far.
type cost struct {
	samples []metrics.Sample
	faults  sys.Faults
}

func newCost() *cost {
	return &cost{samples: []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}}
}

func (c *cost) read() {
	metrics.Read(c.samples)
	c.faults = sys.ThreadFaults()
}

// since notes in p what was done since then.
func (c *cost) since(then *cost, p *model.Pause) {
	n := func(i int) int { return int(c.samples[i].Value.Uint64() - then.samples[i].Value.Uint64()) }
	p.Collections, p.Allocations, p.Allocated = n(0), n(1), int64(n(2))
	p.Faults, p.Reads = int(c.faults.Minor-then.faults.Minor), int(c.faults.Major-then.faults.Major)
}
