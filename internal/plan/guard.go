package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A Reading is how the host fares at one moment.
type Reading struct {
	At time.Duration // of a monotonic clock
	// Pressure is false when the kernel does not account for stalls.
	Pressure bool
	// MemoryStall and IOStall are the times, since boot, in which all tasks that
	// were not idle waited for memory, or for a disk.
	MemoryStall, IOStall time.Duration
	// Busy is what was done on the processors since boot, and Worlds what of it
	// the worlds have done, and pilot for them.
	Busy, Worlds time.Duration
	Processors   int // 0 when these were not read
	Room
}

// Windows over which stalls are averaged. Want of memory hurts at once. Waits
// for a disk are what disks are for, and only a long one is a sign of harm.
const (
	memoryWindow = 2 * time.Second
	ioWindow     = 10 * time.Second
	cpuWindow    = time.Second
)

// A Guard decides, from one reading after the other, when worlds must be ended
// to protect production.
type Guard struct {
	Limits model.Limits
	// Worlds says that worlds run. Before, pilot itself copies data, and on a
	// quiet host "all tasks" that wait for the disk are then its own.
	Worlds bool

	history []Reading
	began   time.Duration // when worlds began to run
	crowded bool
	// Crowding is how long worlds ran on rations.
	Crowding time.Duration
}

// Judge takes a reading and returns why the worlds must be ended, or nothing.
func (g *Guard) Judge(r Reading) string {
	if n := len(g.history); g.crowded && n > 0 {
		g.Crowding += r.At - g.history[n-1].At
	}
	g.history = append(g.history, r)
	g.history = slices.DeleteFunc(g.history, func(old Reading) bool { return r.At-old.At > ioWindow+time.Second })
	if !g.Worlds {
		g.began = r.At
	}
	const why = "ended to protect production: "
	if floor := r.MemoryFloor(); r.MemoryTotal > 0 && r.Memory < floor {
		return why + fmt.Sprintf("memory is short, %s are available on the host (limit %s)", Size(r.Memory), Size(floor))
	}
	if floor := r.DiskFloor(); r.DiskTotal > 0 && r.Disk < floor {
		return why + fmt.Sprintf("the disk is nearly full, %s are free where worlds are kept (limit %s)", Size(r.Disk), Size(floor))
	}
	share, over := g.share(r, memoryWindow, 0, func(r Reading) time.Duration { return r.MemoryStall })
	if limit := g.Limits.MaxMemoryPressure; limit < 100 && share >= limit {
		return why + fmt.Sprintf("memory pressure, all tasks of the host waited for memory in %.1f%% of %s (limit %g%%); %s are available",
			share, over, limit, Size(r.Memory))
	}
	share, over = g.share(r, ioWindow, g.began, func(r Reading) time.Duration { return r.IOStall })
	if limit := g.Limits.MaxIOPressure; limit < 100 && share >= limit {
		return why + fmt.Sprintf("I/O pressure, all tasks of the host waited for disks in %.1f%% of %s (limit %g%%)", share, over, limit)
	}
	return ""
}

// share returns the part of the last window, in per cent, that was a stall. It
// is -1 while there are no readings of a whole window after since.
func (g *Guard) share(now Reading, window, since time.Duration, stall func(Reading) time.Duration) (percent float64, over time.Duration) {
	if !now.Pressure {
		return -1, 0
	}
	for _, then := range slices.Backward(g.history) {
		span := now.At - then.At
		if !then.Pressure || then.At < since {
			break
		}
		if span >= window {
			return 100 * float64(stall(now)-stall(then)) / float64(span), span.Round(100 * time.Millisecond)
		}
	}
	return -1, 0
}

// Ration is the part of the processors that worlds get when production wants all
// of them. With less they do not get anywhere, and with more production would
// feel it.
const Ration = 0.05

// Parts of the processors that others than the worlds keep busy.
const (
	crowdedFrom  = 0.92
	crowdedUntil = 0.80
)

// Crowded reports whether others keep the processors so busy that worlds, which
// have only what is left, need a ration.
func (g *Guard) Crowded() bool {
	if !g.Worlds || len(g.history) == 0 || g.history[0].Processors == 0 {
		return false
	}
	now := g.history[len(g.history)-1]
	for _, then := range slices.Backward(g.history) {
		span := now.At - then.At
		if then.At < g.began {
			break
		}
		if span < cpuWindow {
			continue
		}
		others := float64(now.Busy-then.Busy-max(0, now.Worlds-then.Worlds)) / float64(span) / float64(now.Processors)
		g.crowded = others >= crowdedFrom || g.crowded && others >= crowdedUntil
		break
	}
	return g.crowded
}

// WorldUse is what one world takes.
type WorldUse struct {
	Memory  int64 // the most that its group was charged with, in bytes
	Kills   int   // of its processes, by the kernel, at its memory limit
	Written int64 // bytes, all in all
	// Scratch are its temporary file systems.
	Scratch []Scratch
}

// Scratch is a temporary file system of a world.
type Scratch struct {
	Path       string
	Used, Size int64
}

// Exceeded says which limit a world has passed, or nothing. A world that met one
// is not what production would have been.
func Exceeded(u WorldUse, l model.Limits) string {
	switch {
	case u.Kills > 0 && u.Memory < l.MaxMemory/10*9:
		// Not for its own limit: the kernel takes what pilot made first.
		return fmt.Sprintf("the kernel killed %s in it for want of memory on the host; it had taken %s of %s", processes(u.Kills), Size(u.Memory), Size(l.MaxMemory))
	case u.Kills > 0:
		return fmt.Sprintf("it took more memory than %s (--max-memory), and the kernel killed %s in it", Size(l.MaxMemory), processes(u.Kills))
	case u.Written >= l.MaxDisk:
		return fmt.Sprintf("it wrote %s, and may write %s (--max-disk)", Size(u.Written), Size(l.MaxDisk))
	}
	for _, s := range u.Scratch {
		if s.Size > 0 && s.Used >= s.Size {
			return fmt.Sprintf("it filled %s with %s, all that it may hold", s.Path, Size(s.Size))
		}
	}
	return ""
}

func processes(n int) string {
	if n == 1 {
		return "a process"
	}
	return fmt.Sprintf("%d processes", n)
}

// ScratchSize is how large each temporary file system of a world is: what a
// world may write, but at most half of its memory, of which it is a part.
func ScratchSize(l model.Limits) int64 { return min(l.MaxDisk, l.MaxMemory/2) }
