//go:build linux

package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
)

// Config says what to take and within which limits.
type Config struct {
	Members []model.Member
	// MaxPause bounds how long production may be stopped.
	MaxPause time.Duration
	// Image has made its live pass over the data directories, or is nil.
	Image *image.Image
	// Confine bounds what a seed, and all that comes of it, takes of the host. It
	// is called once for each, as soon as production runs again. May be nil.
	Confine func(pid int) error
}

// Real-time priorities in the pause. The tracer comes before the helpers, which
// would keep it from its work while they copy page tables.
const tracerPriority, helperPriority = 10, 9

// deadmanGrace is how much later than the deadline the kernel kills an agent
// that has not let production go by itself.
const deadmanGrace = 150 * time.Millisecond

// cloneGrace bounds the wait for a clone that was begun and took too long for
// the pause. Production runs meanwhile, as far as the kernel lets it.
const cloneGrace = 20 * time.Second

// Take makes a snapshot. It must run on the thread that is to be the tracer of
// everything that comes of it. On an error production runs as before and
// nothing of ours is left in it. The thread must be ended soon then: that, and
// nothing else, lets go of a thread that could not be stopped in time.
func Take(ctx context.Context, cfg Config) (snap *Snapshot, err error) {
	t := &taking{cfg: cfg, snap: &Snapshot{Image: cfg.Image}, known: map[place]*kobj.Known{}}
	if batch, err := sys.NewSocketBatch(); err == nil { // else full connections are lost, and reported
		defer batch.Close()
		t.batch = batch
	}
	defer func() {
		if err != nil {
			err = errors.Join(t.explain(err), t.snap.Close())
		}
	}()
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if cfg.Image != nil {
		if err := cfg.Image.Settle(ctx); err != nil {
			return nil, fmt.Errorf("copy data: %w", err)
		}
		if err := cfg.Image.Afford(cfg.MaxPause); err != nil {
			return nil, fmt.Errorf("copy data: %w", err)
		}
	}
	if err := t.know(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.pause(ctx); err != nil {
		return nil, err
	}
	// The worlds' wall clocks jump by the time that this takes.
	return t.snap, sys.Urgently(tracerPriority, t.finish)
}

// taking is a snapshot in the making.
type taking struct {
	cfg   Config
	snap  *Snapshot
	known map[place]*kobj.Known
	batch *sys.SocketBatch // nil where the kernel does not have it
	begun int              // how many of the clones were begun

	deleted map[string]string // open files without a name, when read is closed
	read    chan struct{}
	frozen  chan error // nil until the image is being compared
}

// prepare does all that can be done while production runs.
func (t *taking) prepare() error {
	for i, m := range t.cfg.Members {
		if m.Down() {
			continue
		}
		p := &Process{
			Member: m, Index: i, Names: map[int]string{}, Status: map[int]procfs.Status{}, Schedules: map[int]sys.Schedule{},
		}
		origin, err := tracee.Open(m.PID)
		if err != nil {
			return vanished(m, err)
		}
		p.Origin = origin
		t.snap.Processes = append(t.snap.Processes, p)
		if err := look(m.PID, t.known); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := origin.Prepare(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := origin.Probe(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := p.survey(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := fault.MemberSurveyed.Hit(); err != nil {
			return err
		}
	}
	return nil
}

// survey reads what seldom changes.
func (p *Process) survey() (err error) {
	if p.Cwd, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.Member.PID)); err != nil {
		return err
	}
	if err := p.surveyTraits(); err != nil {
		return err
	}
	if p.Exe, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Member.PID)); err != nil {
		return err
	}
	tids, err := procfs.Tasks(p.Member.PID)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		p.surveyThread(tid)
	}
	if p.Maps, err = procfs.Smaps(p.Member.PID); err != nil {
		return err
	}
	p.makeRoom()
	return p.surveyTimers()
}

// pause stops production, reads, clones, and lets go.
func (t *taking) pause(ctx context.Context) (err error) {
	deadman, err := sys.NewDeadman()
	if err != nil {
		return err
	}
	defer deadman.Close()
	defer quiet()()
	if err := sys.Realtime(0, tracerPriority); err == nil {
		defer func() { _ = sys.Realtime(0, 0) }()
	}
	for _, p := range t.snap.Processes {
		p.Origin.Hurry(helperPriority)
		defer func() { err = errors.Join(err, p.Origin.Calm()) }()
	}
	before, after := newCost(), newCost()
	before.read()
	start := time.Now()
	deadline := start.Add(t.cfg.MaxPause)
	if err := deadman.Arm(int64(t.cfg.MaxPause + deadmanGrace)); err != nil {
		return err
	}
	if err := fault.DeadmanArmed.Hit(); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	err = t.stopped(ctx, start, tracee.NewLimit(ctx, deadline))
	cancel()
	releasing := time.Now()
	for _, p := range t.snap.Processes {
		t.snap.Pause.Threads += p.Origin.Stopped()
		err = errors.Join(err, p.Origin.Release())
	}
	err = errors.Join(err, fault.ClusterReleased.Hit())
	end := time.Now()
	for _, p := range t.snap.Processes {
		p.Origin.ReleaseLate()
	}
	_ = deadman.Arm(0)
	after.read()
	after.since(before, &t.snap.Pause)
	t.snap.Pause.Release = end.Sub(releasing)
	t.snap.Pause.Total = end.Sub(start)
	err = errors.Join(err, t.endForks())
	if t.frozen != nil {
		<-t.frozen // nothing may work on the image any more; its error was told, if there was time
	}
	if err != nil {
		return fmt.Errorf("pause of %v (limit %v): %w", t.snap.Pause.Total.Round(10*time.Microsecond), t.cfg.MaxPause, err)
	}
	return nil
}

// endForks brings the helpers to rest after a pause that may have failed. A
// clone that was begun becomes a seed, to be erased with the others.
func (t *taking) endForks() (err error) {
	for i, p := range t.snap.Processes {
		switch {
		case i >= t.begun:
			err = errors.Join(err, p.Origin.DisarmFork())
		case p.Seed == nil && p.Origin.Forking():
			seed, ferr := p.Origin.FinishFork(time.Now().Add(cloneGrace))
			if p.Seed = seed; ferr != nil {
				err = errors.Join(err, fmt.Errorf("member %s: %w", p.Member.Name, ferr))
			}
		}
	}
	return err
}

// stopped is the part of the pause in which production stands.
func (t *taking) stopped(ctx context.Context, start time.Time, limit tracee.Limit) (err error) {
	pause := &t.snap.Pause
	for _, p := range t.snap.Processes {
		if err := p.Origin.Interrupt(); err != nil {
			return err
		}
	}
	for _, p := range t.snap.Processes {
		if err := p.Origin.WaitStopped(limit); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	halted := time.Now()
	pause.Stop = halted.Sub(start)
	if err := fault.ClusterPaused.Hit(); err != nil {
		return err
	}
	for _, p := range t.snap.Processes {
		if err := p.readTimers(limit.At()); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		if err := p.Origin.ArmFork(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}

	// The clones are made by the helpers, and the files compared by another
	// thread, while this one reads.
	for _, p := range t.snap.Processes {
		if err := p.Origin.StartFork(); err != nil {
			return err
		}
		t.begun++
	}
	t.read, t.frozen = make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(t.frozen)
		t.frozen <- t.freeze(ctx)
	}()

	err = t.readAll(limit)
	close(t.read)
	if err != nil {
		return err // no one waits for the rest
	}
	captured := time.Now()
	pause.Capture = captured.Sub(halted)
	for _, p := range t.snap.Processes {
		if err := p.awaitFork(limit); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	forked := time.Now()
	pause.Fork = forked.Sub(captured)
	err = t.awaitFreeze(limit)
	pause.Files = time.Since(forked)
	return errors.Join(err, fault.ClusterRead.Hit())
}

// forkLook is how long a clone is waited for before the limit is looked at.
const forkLook = 2 * time.Millisecond

func (p *Process) awaitFork(limit tracee.Limit) (err error) {
	for {
		p.Seed, err = p.Origin.FinishFork(time.Now().Add(forkLook))
		if !errors.Is(err, tracee.ErrBudget) {
			return err
		}
		if over := limit.Err(); over != nil {
			return fmt.Errorf("clone: %w", over)
		}
	}
}

// awaitFreeze waits for the image, but not longer than production may: a disk
// may hang. It polls, since the runtime's timers are late on a busy machine.
func (t *taking) awaitFreeze(limit tracee.Limit) error {
	for {
		select {
		case err := <-t.frozen:
			return err
		default:
		}
		if err := limit.Err(); err != nil {
			return fmt.Errorf("compare files: %w", err)
		}
		sys.Nanosleep(int64(20 * time.Microsecond))
	}
}

// readAll captures threads and descriptors of all members.
func (t *taking) readAll(limit tracee.Limit) error {
	for _, p := range t.snap.Processes {
		var err error
		p.signals.from, _ = sys.Clocks()
		if p.Threads, err = p.Origin.Capture(limit); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		if err := p.readCredentials(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		p.signals.to, _ = sys.Clocks()
	}
	if err := fault.ThreadsCaptured.Hit(); err != nil {
		return err
	}
	// The world's clocks go on from here: what has been captured so far may
	// know of this moment already, by a timer that has expired.
	t.snap.Monotonic, t.snap.Boottime = sys.Clocks()
	t.snap.Wall = time.Now()
	if err := t.descriptors(limit); err != nil {
		return err
	}
	if err := fault.DescriptorsRead.Hit(); err != nil {
		return err
	}
	for _, p := range t.snap.Processes {
		if err := p.readRegions(limit); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		p.room = nil
	}
	return nil
}

func (t *taking) freeze(ctx context.Context) error {
	if t.cfg.Image == nil {
		return nil
	}
	var writable []string
	for _, p := range t.snap.Processes {
		for _, v := range p.Maps {
			if v.Shared && v.Inode != 0 && v.Has("mw") {
				// The path is the survey's. What was renamed since, or has another
				// name left, is found by the second.
				writable = append(writable, v.Path, fmt.Sprintf("/proc/%d/map_files/%x-%x", p.Member.PID, v.Start, v.End))
			}
		}
	}
	return t.cfg.Image.Freeze(ctx, writable, func() map[string]string {
		<-t.read
		return t.deleted
	})
}

// finish readies the seeds. Production runs again.
func (t *taking) finish() error {
	for _, p := range t.snap.Processes {
		// The helper had none when it made the clone.
		if err := p.Schedules[p.Member.PID].ApplySlack(p.Seed.PID); err != nil {
			return err
		}
		p.surveyNewcomers()
		p.ageTimers(t.snap.Monotonic)
		if t.cfg.Confine != nil {
			if err := t.cfg.Confine(p.Seed.PID); err != nil {
				return fmt.Errorf("confine the seed of %s: %w", p.Member.Name, err)
			}
		}
		p.Seed.Hurry()
		adj := fmt.Sprintf("/proc/%d/oom_score_adj", p.Seed.PID)
		if err := os.WriteFile(adj, []byte("1000"), 0); err != nil {
			return err
		}
		if err := p.Seed.Block(); err != nil {
			return err
		}
		if err := p.checkMaps(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		if err := p.Seed.Equip(); err != nil {
			return err
		}
		if err := p.readSeed(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		if err := p.Seed.Calm(); err != nil {
			return err
		}
		if err := fault.SeedFinished.Hit(); err != nil {
			return err
		}
	}
	return nil
}

// Close erases the seeds and everything of ours in production. Worlds of the
// snapshot must have ended. It must run on the tracer's thread.
func (s *Snapshot) Close() error {
	var errs []error
	for _, p := range s.Processes {
		if p.Seed != nil {
			errs = append(errs, p.Seed.Kill(), p.Seed.WaitGone(), fault.SeedKilled.Hit())
			if err := p.Origin.Reap(p.Seed.PID); err != nil && !errors.Is(err, tracee.ErrGone) {
				errs = append(errs, fmt.Errorf("reap seed %d: %w", p.Seed.PID, err))
			}
			p.Seed = nil
			errs = append(errs, fault.SeedReaped.Hit())
		}
		errs = append(errs, p.Origin.Remove(), p.Origin.Close())
	}
	s.Processes = nil
	return errors.Join(errs...)
}
