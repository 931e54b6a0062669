//go:build linux

// Package spawn makes runnable worlds of a snapshot.
//
// A world has an init (package worldinit), which owns its namespaces, and one
// phantom per captured process. Phantoms are forked from the seeds: seed ->
// stem, which enters the world's namespaces, -> phantom, which gets the pid of
// its origin there. No phantom runs before every one of them is complete and
// the seal audit has passed.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/supervise"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/worldinit"
)

// Config describes one world.
type Config struct {
	Name string // "trial" or "control"
	Dir  string // where the world keeps its files, on the host
	// Members is the run's list; that of the snapshot's processes included.
	Members []model.Member
	// Addresses are those of the host, in CIDR form.
	Addresses []string
	// Outside is a process that has the agent's mounts as the host has them, where
	// they are a copy of the members', or 0.
	Outside int
	// ScratchSize bounds each temporary file system of the world, 0 for none.
	ScratchSize int64
	// Confinement bounds what the world's processes take of the host, or is nil.
	Confinement Confinement
	// Stops are calls that the phantoms of a member are stopped at beside those of
	// all, so that their disks can be made to fail: see [World.Delay], [World.Fill].
	Stops map[string][]seal.Rule
}

// A Confinement bounds processes. It is called before a process has children,
// other threads, or memory of its own to speak of.
type Confinement interface {
	// Add bounds a process, and all that come of it.
	Add(pid int) error
	// Holds returns an error when one of the threads is not bounded.
	Holds(tids []int) error
	// Hurry lets processes have real-time priority, where that depends on us, and
	// Calm takes it back: an error means that one still has it.
	Hurry()
	Calm() error
}

// A World is a sealed copy of the cluster.
type World struct {
	Name string
	Dir  string
	Tree *image.Tree
	Gaps []model.Gap
	// Released is when the phantoms began to run. WallAhead is how much later
	// than the pause that was: their wall clocks jump by it. ClockAhead is by
	// how much their monotonic clocks do.
	Released              time.Time
	WallAhead, ClockAhead time.Duration
	Spawn                 time.Duration

	built    time.Duration // how long the phantoms took, see Opening
	closing  atomic.Bool
	confine  Confinement
	stops    map[string][]seal.Rule // see Config
	snap     *capture.Snapshot
	tracer   *osthread.Thread // the snapshot's
	inside   *osthread.Thread // in the world's mount and network namespaces
	init     *worldinit.Process
	calls    *supervise.Supervisor
	phantoms []*phantom
	outputs  map[int]*os.File
	objects  *kobj.World
	members  []model.Member
	memory   map[memoryKey]sys.FD // shared memory made anew, by what it was
	fds      []sys.FD             // the objects made anew, until the phantoms have them
	opening  time.Duration        // see Wake
	// container has the namespaces of members that are in one, and numbers is the
	// pid namespace of the phantoms then: see forkContained.
	container map[string]uint64
	numbers   uint64
	leave     func() // see attend
	root      [2]int // see Root
	awake     bool   // phantoms are complete, and the audit has passed
}

type memoryKey struct{ dev, ino uint64 }

// New builds a world, but for the threads of its phantoms: see [World.Wake].
// tracer is the thread that took the snapshot.
func New(ctx context.Context, tracer *osthread.Thread, snap *capture.Snapshot, cfg Config) (w *World, err error) {
	began := time.Now()
	w = &World{
		Name: cfg.Name, Dir: cfg.Dir, snap: snap, tracer: tracer,
		members: cfg.Members, outputs: map[int]*os.File{}, confine: cfg.Confinement, stops: cfg.Stops,
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("world %s: %w", cfg.Name, err), w.Close())
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return w, err
	}
	if err := w.openOutputs(); err != nil {
		return w, err
	}
	wc := worldinit.Config{
		Label: cfg.Dir, Addresses: cfg.Addresses, DropCaps: forbidden, ScratchSize: cfg.ScratchSize,
	}
	if wc.Within, wc.Owner, err = w.within(); err != nil {
		return w, err
	}
	if wc.Within != 0 { // or nothing is locked
		wc.Lender = cfg.Outside
	}
	if snap.Image != nil {
		if w.Tree, err = snap.Image.World(ctx, filepath.Join(cfg.Dir, "data")); err != nil {
			return w, err
		}
		if err := fault.WorldCopied.Hit(); err != nil {
			return w, err
		}
		for _, r := range w.Tree.Roots {
			wc.Binds = append(wc.Binds, worldinit.Bind{From: r.Path, To: r.Source})
		}
	}
	if w.init, err = worldinit.Start(wc, w.add); err != nil {
		return w, err
	}
	if err := fault.InitStarted.Hit(); err != nil {
		return w, err
	}
	for _, path := range w.init.Bare {
		w.Gaps = append(w.Gaps, model.Gap{Object: path, Detail: "this file system cannot be covered: sockets and fifos that are in it lead to the host"})
	}
	w.inside = osthread.New()
	if err := w.inside.Do(func() error { return sys.Enter(w.init.PID(), sys.NewNet|sys.NewMount) }); err != nil {
		return w, err
	}
	building := time.Now()
	if err := w.hurried(w.build); err != nil {
		return w, err
	}
	w.built = time.Since(building)
	// Not before: the init enters a namespace while a world in a container is
	// built, and mounts its /proc.
	if err := w.superviseCalls(cfg.Addresses); err != nil {
		return w, err
	}
	w.Spawn = time.Since(began)
	return w, nil
}

// openOutputs makes a log per member: where its terminal output goes.
func (w *World) openOutputs() error {
	dir := filepath.Join(w.Dir, "output")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, m := range w.members {
		f, err := os.OpenFile(w.Log(m.Name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		w.outputs[i] = f
	}
	return w.giveOutputs()
}

// Log is the path of a member's log in the world's directory on the host.
func (w *World) Log(member string) string {
	return filepath.Join(w.Dir, "output", filepath.Base(member)+".log")
}

// build makes the phantoms, each with one thread, and furnishes them.
func (w *World) build() error {
	if err := w.fork(); err != nil {
		return err
	}
	fds, err := w.restoreObjects()
	if err != nil {
		return err
	}
	w.fds = fds
	if err := fault.ObjectsRestored.Hit(); err != nil {
		return err
	}
	for _, ph := range w.phantoms {
		if err := w.furnish(ph, fds); err != nil {
			return fmt.Errorf("member %s: %w", ph.process.Member.Name, err)
		}
	}
	return nil
}

// fork makes the phantoms.
func (w *World) fork() error {
	if w.container != nil {
		return w.forkContained()
	}
	for _, p := range w.snap.Processes {
		if err := w.forkOne(p, (*phantom).fork); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) forkOne(p *capture.Process, fork func(*phantom, *World) error) error {
	ph := &phantom{process: p, pidfd: -1, contained: w.container != nil}
	err := w.tracer.Do(func() error {
		w.phantoms = append(w.phantoms, ph)
		p.Seed.Hurry()
		return errors.Join(fork(ph, w), p.Seed.Calm())
	})
	if err != nil {
		return fmt.Errorf("member %s: %w", p.Member.Name, err)
	}
	w.degraded(p)
	return nil
}

// restoreObjects makes the kernel objects anew, inside the world.
func (w *World) restoreObjects() (fds []sys.FD, err error) {
	w.objects = &kobj.World{
		Deleted: map[string]string{},
		Output:  func(member int) (*os.File, error) { return w.outputs[member], nil },
		Gap:     w.gap,
		Writable: func(path string) bool {
			for _, m := range w.members {
				if capture.Within(path, m.Data) {
					return true
				}
			}
			return false
		},
	}
	if w.Tree != nil {
		w.objects.Deleted = w.Tree.Deleted
	}
	w.objects.Plan(w.snap.Objects)
	err = w.inside.Do(func() error {
		fds, err = w.objects.Restore(w.snap.Objects)
		return err
	})
	return fds, err
}

func (w *World) gap(d *kobj.Description, detail string) {
	h := d.Holders[0]
	w.Gaps = append(w.Gaps, model.Gap{
		Member: w.members[h.Member].Name,
		Object: fmt.Sprintf("fd %d (%s)", h.FD, d.Kind.Name()),
		Detail: detail,
	})
}

// End kills every process of the world at once. It may be called by another
// goroutine than the world's owner, until Close begins.
func (w *World) End() error {
	w.closing.Store(true)
	return w.init.Kill()
}

// Init is the world's first process, through which commands are started.
func (w *World) Init() *worldinit.Process { return w.init }

// Close ends everything in the world and erases it, but for its directory.
func (w *World) Close() error {
	w.closing.Store(true)
	var errs []error
	if w.init != nil {
		errs = append(errs, w.init.Kill(), fault.InitKilled.Hit())
	}
	errs = append(errs, w.tracer.Do(func() error {
		var errs []error
		// The last first: the end of the first may wait for those of all others.
		for _, ph := range slices.Backward(w.phantoms) {
			errs = append(errs, ph.kill())
		}
		if w.leave != nil {
			w.leave()
		}
		w.phantoms = nil
		return errors.Join(errs...)
	}))
	if w.objects != nil {
		w.objects.Close()
		w.objects = nil
	}
	if w.inside != nil {
		w.inside.Close()
		w.inside = nil
	}
	if w.init != nil {
		errs = append(errs, w.init.Wait())
		w.init = nil
	}
	if w.calls != nil {
		w.calls.Close()
	}
	w.closeFDs()
	for _, fd := range w.memory {
		_ = fd.Close()
	}
	for _, f := range w.outputs {
		_ = f.Close()
	}
	return errors.Join(errs...)
}

// A Phantom is what a watcher needs to know of one process of the world.
type Phantom struct {
	Member  model.Member
	HostPID int // in the agent's pid namespace
	// Number is what it is called in a container, 0 where it is in none.
	Number int
	PIDFD  sys.FD
}

// Phantoms lists the processes that were forked from production.
func (w *World) Phantoms() (out []Phantom) {
	for _, ph := range w.phantoms {
		p := Phantom{Member: ph.process.Member, HostPID: ph.lead.PID, PIDFD: ph.pidfd}
		if ph.contained {
			p.Number = ph.number()
		}
		out = append(out, p)
	}
	return out
}

// Root returns the user and the group that root of the world is on the host.
func (w *World) Root() (uid, gid int) { return w.root[0], w.root[1] }

// Members returns the run's list of members.
func (w *World) Members() []model.Member { return w.members }

// Closing reports whether the world is being ended by pilot.
func (w *World) Closing() bool { return w.closing.Load() }

// MemberLog returns where, on the host, a member's terminal output of this
// world can be read: its log file in a data directory, or its captured output.
func (w *World) MemberLog(member string) string {
	for _, d := range w.snap.Objects {
		path, ok := kobj.FilePath(d)
		if !ok || d.Flags&os.O_WRONLY == 0 && d.Flags&os.O_RDWR == 0 {
			continue
		}
		for _, h := range d.Holders {
			if h.FD == 2 && w.members[h.Member].Name == member && w.Tree != nil {
				for _, r := range w.Tree.Roots {
					if capture.Within(path, []string{r.Source}) {
						return r.Path + path[len(r.Source):]
					}
				}
			}
		}
	}
	return w.Log(member)
}

// Connections lists those between members, by both of their addresses, that
// were established when the snapshot was taken.
func (w *World) Connections() [][2]netip.AddrPort { return kobj.Established(w.snap.Objects) }
