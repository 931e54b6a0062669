//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/cgroup"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/sys"
)

// A HostReader tells how the host fares that keeps a run's files in dir.
type HostReader func(dir string) (plan.Reading, error)

// readLoad reads /proc and asks the file system of dir.
func readLoad(dir string) (r plan.Reading, err error) {
	r.At, _ = sys.Clocks()
	memory, err := procfs.ReadMemory()
	if err != nil {
		return r, err
	}
	r.Memory, r.MemoryTotal = memory.Available, memory.Total
	disk, err := sys.Statfs(dir)
	if err != nil {
		return r, err
	}
	r.Disk, r.DiskTotal = disk.Avail, disk.Total
	processors, err := procfs.ReadProcessors()
	if err != nil {
		return r, err
	}
	r.Busy, r.Processors = processors.Total-processors.Idle, processors.Count
	// A kernel may be built, or booted, without.
	stalledMemory, merr := procfs.ReadPressure("memory")
	stalledIO, ierr := procfs.ReadPressure("io")
	r.Pressure = merr == nil && ierr == nil
	r.MemoryStall, r.IOStall = stalledMemory.Full.Total, stalledIO.Full.Total
	return r, nil
}

// Periods of the guard. What a world wrote takes a walk over its files, so the
// next comes after a rest that is long against the last.
const (
	guardPeriod = 250 * time.Millisecond
	walkPeriod  = 500 * time.Millisecond
	walkRest    = 20
)

// errEnded is the cause of a run's context when its worlds were ended.
var errEnded = errors.New("the worlds were ended")

// A guard looks after the host while a run goes on, and ends worlds that harm it
// or that pass their limits.
type guard struct {
	read   HostReader
	dir    string
	limits model.Limits
	cancel context.CancelCauseFunc // of the run's steps
	life   context.Context         // of the guard's goroutines
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	decide plan.Guard
	wards  []*ward
	why    string      // of all worlds
	err    error       // of a reading
	groups *cgroup.Run // nil before worlds run
	ration bool        // is given to them
	stores []string    // see also
}

// A ward is one world under guard.
type ward struct {
	world *spawn.World
	group *cgroup.Group
	meter *spawn.Meter
	use   plan.WorldUse
	why   string
	err   error // of a look
	// needed is unset for one of several trials. over is closed when it is ended.
	needed bool
	over   chan struct{}
}

// begin has the guard look after the host, and returns a context that ends with
// the worlds. The caller halts the guard, and may begin again after that: what was
// seen before counts no more, but for a reason to end all worlds.
func (g *guard) begin(ctx context.Context) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx, g.cancel = context.WithCancelCause(ctx)
	g.life, g.stop = context.WithCancel(context.Background())
	g.wards, g.groups, g.ration, g.err, g.decide = nil, nil, false, nil, plan.Guard{Limits: g.limits}
	if g.why != "" {
		g.cancel(errEnded)
	}
	life := g.life
	g.wg.Go(func() {
		for g.look(); wait(life, guardPeriod); g.look() {
		}
	})
	return ctx
}

// wait returns false when ctx ended before d has passed.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// halt ends the watching. Worlds may be closed after it.
func (g *guard) halt() {
	if g != nil && g.stop != nil {
		g.stop()
		g.wg.Wait()
		g.cancel(nil)
	}
}

// dismiss forgets worlds that are about to be closed: who would end them all must
// not find them any more. The guard must have been halted.
func (g *guard) dismiss() {
	if g != nil {
		g.mu.Lock()
		g.wards = nil
		g.mu.Unlock()
	}
}

// add puts a world that is complete under guard. needed says that there is nothing
// more to learn without it.
func (g *guard) add(w *spawn.World, group *cgroup.Group, needed bool) (*ward, error) {
	meter, err := w.Meter()
	if err != nil {
		return nil, err
	}
	v := &ward{world: w, group: group, meter: meter, needed: needed, over: make(chan struct{})}
	g.mu.Lock()
	g.wards = append(g.wards, v)
	g.mu.Unlock()
	// On its own: a walk over many files must not keep the guard from the host.
	g.wg.Go(func() {
		for rest := walkPeriod; wait(g.life, rest); {
			began := time.Now()
			g.walk(v)
			rest = max(walkPeriod, walkRest*time.Since(began))
		}
	})
	return v, nil
}

// also has the guard look after the file systems of more directories, which the
// worlds write to.
func (g *guard) also(dirs []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stores = dirs
}

// tighter makes r tell of the disk of dir if that is nearer to its floor.
func tighter(r *plan.Room, dir string) {
	disk, err := sys.Statfs(dir)
	if err != nil {
		return // it ends with the image
	}
	other := plan.Room{Disk: disk.Avail, DiskTotal: disk.Total}
	if other.Disk-other.DiskFloor() < r.Disk-r.DiskFloor() {
		r.Disk, r.DiskTotal = other.Disk, other.DiskTotal
	}
}

// running says that worlds run from now on, in groups that yield the processor.
func (g *guard) running(groups *cgroup.Run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decide.Worlds, g.groups = true, groups
}

// look reads the host and the worlds once, and acts.
func (g *guard) look() {
	reading, err := g.read(g.dir)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, dir := range g.stores {
		tighter(&reading.Room, dir)
	}
	if err != nil && g.err == nil {
		g.err = err
	}
	reading.Worlds = sys.OwnTime()
	for _, v := range g.wards {
		reading.Worlds += v.spent()
	}
	if err == nil && g.why == "" {
		if g.why = g.decide.Judge(reading); g.why != "" {
			g.endAll()
		}
		g.share(reading)
	}
	for _, v := range g.wards {
		v.look()
		g.judge(v)
	}
}

// share gives the worlds a ration of the processors while production wants all,
// and else what it leaves. g.mu is held.
func (g *guard) share(r plan.Reading) {
	if g.why != "" || g.groups == nil || !g.groups.Has("cpu") {
		return
	}
	crowded := g.decide.Crowded()
	if crowded == g.ration {
		return
	}
	act := g.groups.Yield
	if crowded {
		act = func() error { return g.groups.Ration(plan.Ration * float64(r.Processors)) }
	}
	if err := act(); err != nil {
		// The worlds stay as they are: production's share is not at stake.
		g.groups = nil
		if g.err == nil && !errors.Is(err, fs.ErrNotExist) {
			g.err = err
		}
		return
	}
	g.ration = crowded
}

// walk counts what a world has written.
func (g *guard) walk(v *ward) {
	processes, _ := v.group.Processes()
	written, err := v.meter.Written(processes)
	if err != nil {
		return // the next walk tells
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v.use.Written = max(v.use.Written, written)
	g.judge(v)
}

// spent is the processor time of the world's processes, also of those that have
// ended.
func (v *ward) spent() (sum time.Duration) {
	processes, _ := v.group.Processes()
	for _, pid := range processes {
		if s, err := procfs.ReadStat(pid); err == nil {
			sum += s.CPU
		}
	}
	return sum
}

// look reads what costs nothing.
func (v *ward) look() {
	u, err := v.group.Usage()
	if err != nil && v.err == nil {
		v.err = err
	}
	v.use.Memory, v.use.Kills = max(v.use.Memory, u.Peak, u.Memory), max(v.use.Kills, u.OOMKills)
	for i, s := range v.meter.Scratch() {
		if i == len(v.use.Scratch) {
			v.use.Scratch = append(v.use.Scratch, s)
		}
		v.use.Scratch[i].Used = max(v.use.Scratch[i].Used, s.Used)
	}
}

// total is what the world wrote, its temporary file systems included.
func (v *ward) total() plan.WorldUse {
	u := v.use
	for _, s := range u.Scratch {
		u.Written += s.Used
	}
	return u
}

// judge ends a world that has passed a limit. g.mu is held.
func (g *guard) judge(v *ward) {
	if v.why != "" {
		return
	}
	if v.why = plan.Exceeded(v.total(), g.limits); v.why != "" {
		g.end(v)
	}
}

// end kills one world, and with it the round if that needs it. g.mu is held.
func (g *guard) end(v *ward) {
	select {
	case <-v.over:
	default:
		close(v.over)
	}
	if err := v.world.End(); err != nil {
		v.why += fmt.Sprintf(" (and its end: %v)", err)
	}
	if v.needed {
		g.cancel(errEnded)
	}
}

// abandon ends all worlds for a reason of its own.
func (g *guard) abandon(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == "" {
		g.why = why
		g.endAll()
	}
}

func (g *guard) endAll() {
	for _, v := range g.wards {
		g.end(v)
	}
	g.cancel(errEnded)
}

// ended returns why the worlds, or one of them, had to be ended, or nothing.
func (g *guard) ended() string {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range g.wards {
		if v.why != "" && v.needed && g.why == "" {
			return v.why
		}
	}
	return g.why
}

// crowding tells that production left nothing to the worlds, which has an effect
// on all that is done in time. The guard must have been halted.
func (g *guard) crowding() []model.Gap {
	if g.decide.Crowding == 0 {
		return nil
	}
	return []model.Gap{{
		Object: "processors",
		Detail: fmt.Sprintf("for %s production wanted all of them, and all worlds had %.0f%% together: what took long or timed out may be due to that",
			g.decide.Crowding.Round(100*time.Millisecond), 100*plan.Ration),
	}}
}

// conclude takes the last readings of a world, which may tell what the periodic
// ones have not, and writes them to w. The guard must have been halted, and the
// world must not be closed yet.
func (g *guard) conclude(v *ward, w *model.World) {
	w.Ended = g.why
	if g.err != nil {
		w.Incomplete = append(w.Incomplete, fmt.Sprintf("how the host fared: %v", g.err))
	}
	if v == nil {
		return
	}
	v.look()
	processes, _ := v.group.Processes()
	if written, err := v.meter.Written(processes); err == nil {
		v.use.Written = max(v.use.Written, written)
	} else {
		w.Incomplete = append(w.Incomplete, fmt.Sprintf("what it wrote: %v", err))
	}
	if v.err != nil {
		w.Incomplete = append(w.Incomplete, fmt.Sprintf("what it took of memory: %v", v.err))
	}
	g.judge(v)
	if w.Ended == "" {
		w.Ended = v.why
	}
	w.Use = model.Use{Memory: v.use.Memory, Written: v.total().Written}
}
