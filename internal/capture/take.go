//go:build linux

package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/pilotexec/pilot/internal/image"
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
}

// deadmanGrace is how much later than the deadline the kernel kills an agent
// that has not let production go by itself.
const deadmanGrace = 150 * time.Millisecond

// Take makes a snapshot. It must run on the thread that is to be the tracer of
// everything that comes of it. On an error production runs as before and
// nothing of ours is left in it.
func Take(ctx context.Context, cfg Config) (snap *Snapshot, err error) {
	t := &taking{cfg: cfg, snap: &Snapshot{Image: cfg.Image}}
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
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := t.pause(ctx); err != nil {
		return nil, err
	}
	return t.snap, t.finish()
}

// explain replaces the many ways to notice the end of a process by their cause.
func (t *taking) explain(err error) error {
	for _, p := range t.snap.Processes {
		if p.Origin.Ended() {
			return fmt.Errorf("member %s (pid %d) ended while the snapshot was taken: %w", p.Member.Name, p.Member.PID, tracee.ErrGone)
		}
	}
	return err
}

// taking is a snapshot in the making.
type taking struct {
	cfg  Config
	snap *Snapshot
	unix sys.UnixDiag
}

// prepare does all that can be done while production runs.
func (t *taking) prepare() error {
	for i, m := range t.cfg.Members {
		if m.Down() {
			continue
		}
		p := &Process{Member: m, Index: i, Names: map[int]string{}}
		origin, err := tracee.Open(m.PID)
		if err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		p.Origin = origin
		t.snap.Processes = append(t.snap.Processes, p)
		if err := origin.Prepare(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := origin.Probe(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if err := p.survey(); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return nil
}

// survey reads what seldom changes.
func (p *Process) survey() error {
	status, err := procfs.ReadStatus(p.Member.PID)
	if err != nil {
		return err
	}
	p.Caps = status.CapEff
	if p.Cwd, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.Member.PID)); err != nil {
		return err
	}
	tids, err := procfs.Tasks(p.Member.PID)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", p.Member.PID, tid)); err == nil && len(name) > 0 {
			p.Names[tid] = string(name[:len(name)-1])
		}
	}
	if p.Maps, err = procfs.Smaps(p.Member.PID); err != nil {
		return err
	}
	return p.surveyTimers()
}

// pause stops production, reads, clones, and lets go.
func (t *taking) pause(ctx context.Context) (err error) {
	deadman, err := sys.NewDeadman()
	if err != nil {
		return err
	}
	defer deadman.Close()
	for _, p := range t.snap.Processes {
		if err := p.Origin.ArmFork(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	// No collection while production waits.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if err := sys.Realtime(0, 10); err == nil {
		defer func() { _ = sys.Realtime(0, 0) }()
	}
	start := time.Now()
	deadline := start.Add(t.cfg.MaxPause)
	if err := deadman.Arm(int64(t.cfg.MaxPause + deadmanGrace)); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	forking, err := t.stopped(ctx, start, deadline)
	releasing := time.Now()
	for _, p := range t.snap.Processes {
		t.snap.Pause.Threads += p.Origin.Stopped()
		err = errors.Join(err, p.Origin.Release())
	}
	end := time.Now()
	_ = deadman.Arm(0)
	t.snap.Pause.Release = end.Sub(releasing)
	t.snap.Pause.Total = end.Sub(start)
	if !forking {
		for _, p := range t.snap.Processes {
			err = errors.Join(err, p.Origin.DisarmFork())
		}
	}
	if err != nil {
		return fmt.Errorf("pause of %v (limit %v): %w", t.snap.Pause.Total.Round(10*time.Microsecond), t.cfg.MaxPause, err)
	}
	return nil
}

// stopped is the part of the pause in which production stands. forking tells
// whether the clones were begun.
func (t *taking) stopped(ctx context.Context, start, deadline time.Time) (forking bool, err error) {
	pause := &t.snap.Pause
	for _, p := range t.snap.Processes {
		if err := p.Origin.Interrupt(); err != nil {
			return false, err
		}
	}
	for _, p := range t.snap.Processes {
		if err := p.Origin.WaitStopped(deadline); err != nil {
			return false, fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	t.snap.Monotonic, t.snap.Boottime = sys.Clocks()
	halted := time.Now()
	pause.Stop = halted.Sub(start)

	// The clones are made by the helpers, and the files compared by another
	// thread, while this one reads.
	forking = true
	for _, p := range t.snap.Processes {
		if err := p.Origin.StartFork(); err != nil {
			return forking, err
		}
	}
	frozen := make(chan error, 1)
	go func() { frozen <- t.freeze(ctx) }()

	err = t.read(deadline)
	captured := time.Now()
	pause.Capture = captured.Sub(halted)
	for _, p := range t.snap.Processes {
		seed, ferr := p.Origin.FinishFork(deadline.Add(deadmanGrace / 2))
		if ferr != nil {
			err = errors.Join(err, fmt.Errorf("member %s: %w", p.Member.Name, ferr))
			continue
		}
		p.Seed = seed
	}
	forked := time.Now()
	pause.Fork = forked.Sub(captured)
	err = errors.Join(err, <-frozen)
	pause.Files = time.Since(forked)
	return forking, err
}

// read captures threads and descriptors of all members.
func (t *taking) read(deadline time.Time) error {
	for _, p := range t.snap.Processes {
		var err error
		if p.Threads, err = p.Origin.Capture(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
		if time.Now().After(deadline) {
			return tracee.ErrBudget
		}
	}
	objects, err := t.descriptors(deadline)
	if err != nil {
		return err
	}
	t.snap.Objects = objects
	for _, p := range t.snap.Processes {
		if err := p.readRegions(); err != nil {
			return fmt.Errorf("member %s: %w", p.Member.Name, err)
		}
	}
	return nil
}

func (t *taking) freeze(ctx context.Context) error {
	if t.cfg.Image == nil {
		return nil
	}
	var writable []string
	deleted := map[string]string{}
	for _, p := range t.snap.Processes {
		for _, v := range p.Maps {
			if v.Shared && v.Inode != 0 && v.Has("mw") && !v.Deleted {
				writable = append(writable, v.Path)
			}
		}
		for path, key := range deletedFiles(p.Member.PID) {
			deleted[path] = key
		}
	}
	return t.cfg.Image.Freeze(ctx, writable, deleted)
}

// finish readies the seeds. Production runs again.
func (t *taking) finish() error {
	for _, p := range t.snap.Processes {
		p.ageTimers(t.snap.Monotonic)
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
	}
	return nil
}

// Close erases the seeds and everything of ours in production. Worlds of the
// snapshot must have ended. It must run on the tracer's thread.
func (s *Snapshot) Close() error {
	var errs []error
	for _, p := range s.Processes {
		if p.Seed != nil {
			errs = append(errs, p.Seed.Kill(), p.Seed.WaitGone())
			if err := p.Origin.Reap(p.Seed.PID); err != nil && !errors.Is(err, tracee.ErrGone) {
				errs = append(errs, fmt.Errorf("reap seed %d: %w", p.Seed.PID, err))
			}
			p.Seed = nil
		}
		errs = append(errs, p.Origin.Remove(), p.Origin.Close())
	}
	s.Processes = nil
	return errors.Join(errs...)
}
