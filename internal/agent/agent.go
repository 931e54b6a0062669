//go:build linux

// Package agent runs pilots on this host: it finds processes, checks that they
// can be forked, takes the snapshot, spawns the worlds, runs the action in the
// trial, watches both, and cleans up.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/egress"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/peer"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/spawn"
	"github.com/pilotexec/pilot/internal/trace"
)

// An Engine is the agent as the command line sees it.
type Engine struct {
	// mounts is the mount namespace that this process has a copy of, 0 when it
	// has its own.
	mounts uint64
	// ReadHost is asked a few times a second how the host fares; by default /proc
	// is.
	ReadHost HostReader
}

// Progress tells the user about a phase of the run.
type Progress func(phase, text string)

// Run pilots spec. Files of the run go below workDir; images and worlds are
// removed at the end. On an error production runs as before.
func (e Engine) Run(ctx context.Context, spec model.Spec, workDir string, progress func(phase, text string)) (report *model.Report, err error) {
	if pid, mounts, ok := e.elsewhere(spec.Members); ok && requireRoot() == nil {
		return e.runInside(ctx, pid, mounts, spec, workDir, progress)
	}
	r := &run{spec: spec, dir: workDir, progress: progress, began: time.Now(), engine: e, readLoad: readLoad}
	if e.ReadHost != nil {
		r.readLoad = e.ReadHost
	}
	defer func() {
		if cerr := r.close(); cerr != nil {
			if report != nil {
				report.Leftovers = append(report.Leftovers, cerr.Error())
			} else {
				err = errors.Join(err, cerr)
			}
		}
	}()
	if err := requireRoot(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(workDir, 0o700); err != nil {
		return nil, err
	}
	progress("check", fmt.Sprintf("%d members", len(spec.Members)))
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if err := fault.AgentChecked.Hit(); err != nil {
		return nil, err
	}
	if err := r.sweep(); err != nil {
		return nil, err
	}
	steps, guard := watchHost(ctx, r.readLoad, r.dir, r.spec.Limits)
	r.guard = guard
	for _, step := range []func(context.Context) error{r.collapse, r.snapshot, r.spawn, r.act} {
		if err := step(steps); err != nil && (r.guard.ended() == "" || ctx.Err() != nil) {
			return nil, err
		} else if err != nil {
			r.broke = err // for want of the worlds
			break
		}
	}
	return r.report(ctx)
}

// run is one pilot in the making.
type run struct {
	spec     model.Spec
	dir      string
	progress Progress
	began    time.Time
	engine   Engine
	gaps     []model.Gap
	rules    []peer.Rule // for peers outside
	host     egress.Host
	readLoad HostReader
	confine  *confinement
	guard    *guard
	// broke is what kept the run from going on when the worlds were ended.
	broke error

	tracer   *osthread.Thread
	image    *image.Image
	snap     *capture.Snapshot
	trial    *side
	control  *side
	events   *trace.Tracer // nil when nothing is traced
	snapTime model.Pause
	// facts are of the members, and predicted is what the pause takes by them.
	facts     []plan.ProcessFacts
	predicted model.Pause
	collapsed *model.Collapse
	stopHeed  func() // nil before there is a snapshot
}

// side is a world with its watcher and its results.
type side struct {
	world *spawn.World
	watch *observe.Watch
	// egress is nil where the kernel cannot make it.
	egress *egress.Gateway
	ward   *ward
	// recording is nil when nothing is traced, and after its end.
	recording *trace.Recording
	seen      model.World
	// untold are the events that are missing. No rule needs them.
	untold []string
}

// check refuses what cannot be piloted, before anything is touched, and
// completes the members with what is found of them.
func (r *run) check(ctx context.Context) error {
	refusals := checkHost()
	if len(refusals) > 0 { // what else would be found follows from it
		return &model.RefusedError{Refusals: refusals}
	}
	reading, err := r.readLoad(r.dir)
	if err != nil {
		return fmt.Errorf("read the host: %w", err)
	}
	r.spec.Limits = plan.Limits(r.spec.Limits, reading.Room)
	if r.confine, err = confine(groupName(r.dir), r.spec.Limits); err != nil {
		return err
	}
	facts, err := examine(r.spec.Members, r.engine.mounts)
	if err != nil {
		return err
	}
	if err := r.confine.measure(facts); err != nil {
		return err
	}
	r.spec.Members = withData(r.spec.Members, facts)
	r.facts = processFacts(facts)
	r.predicted = plan.PredictAll(r.facts)
	for i, f := range facts {
		if r.spec.Members[i].Down() {
			continue
		}
		refused, gaps, _ := f.preflight()
		refusals = append(refusals, refused...)
		r.gaps = append(r.gaps, gaps...)
	}
	unable, host := r.engine.checkMembers(facts)
	refusals = append(append(refusals, unable...), host...)
	refusals = append(refusals, checkData(r.spec.Members)...)
	forbidden, err := r.checkEgress(ctx)
	if err != nil {
		return err
	}
	refusals = append(refusals, forbidden...)
	refusals = append(refusals, plan.RefuseRoom(processFacts(facts), r.spec.Limits, reading.Room)...)
	if len(refusals) > 0 {
		return &model.RefusedError{Refusals: refusals}
	}
	return nil
}

// snapshot copies the data and takes the cut.
func (r *run) snapshot(ctx context.Context) (err error) {
	var sources []string
	for _, m := range r.spec.Members {
		sources = append(sources, m.Data...)
	}
	sources = plan.Tidy(sources)
	r.progress("copy", fmt.Sprintf("%d data paths, while production runs", len(sources)))
	if r.image, err = r.imageOf(sources).Prepare(ctx); err != nil {
		return refusedCopy(err)
	}
	r.guard.also(r.image.Dirs())
	if err := r.image.Room(ctx, 2); err != nil {
		return refusedCopy(err)
	}
	if err := fault.AgentCopied.Hit(); err != nil {
		return err
	}
	r.openTrace()
	expected := r.predicted
	r.progress("snapshot", fmt.Sprintf("production stops for at most %v, for about %s and the comparison of files (stop %s, capture %s, fork %s)",
		r.spec.MaxPause, ms(expected.Total), ms(expected.Stop), ms(expected.Capture), ms(expected.Fork)))
	seeds, err := r.confine.cage("seeds", 0)
	if err != nil {
		return err
	}
	r.tracer = osthread.New()
	err = r.tracer.Do(func() (err error) {
		r.snap, err = capture.Take(ctx, capture.Config{
			Members: r.spec.Members, MaxPause: r.spec.MaxPause, Image: r.image, Confine: seeds.Add,
		})
		return err
	})
	if errors.Is(err, image.ErrSlow) {
		return refusedCopy(err)
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	r.stopHeed = r.heed()
	if err := fault.SnapshotTaken.Hit(); err != nil {
		return err
	}
	r.snapTime = r.snap.Pause
	r.snapTime.Predicted = r.predicted.Total
	p := r.snap.Pause
	r.progress("released", fmt.Sprintf("production was stopped for %s (%d threads, %d objects, %d connections)",
		ms(p.Total), p.Threads, p.Objects, p.Connections))
	return nil
}

// spawn makes both worlds and lets them run.
func (r *run) spawn(ctx context.Context) error {
	addresses, err := hostAddresses()
	if err != nil {
		return err
	}
	r.trial, r.control = &side{}, &side{}
	for _, s := range []struct {
		side *side
		name string
	}{{r.trial, "trial"}, {r.control, "control"}} {
		r.progress("spawn", s.name+" world")
		cage, err := r.confine.cage(s.name, r.spec.Limits.MaxMemory)
		if err != nil {
			return err
		}
		s.side.world, err = spawn.New(ctx, r.tracer, r.snap, spawn.Config{
			Name: s.name, Dir: filepath.Join(r.dir, "worlds", s.name),
			Members: r.spec.Members, Addresses: addresses, Outside: r.engine.outside(),
			ScratchSize: plan.ScratchSize(r.spec.Limits), Confinement: cage,
		})
		if err != nil {
			s.side.world = nil
			return err
		}
		if err := fault.WorldSpawned.Hit(); err != nil {
			return err
		}
		if s.side.ward, err = r.guard.add(s.side.world, cage.group); err != nil {
			return err
		}
		r.gateway(s.side)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, gap := range r.trial.world.Gaps {
		if !slices.Contains(r.gaps, gap) {
			r.gaps = append(r.gaps, gap)
		}
	}
	r.beginTrace()
	opening := spawn.Opening(r.trial.world, r.control.world)
	for _, s := range []*side{r.trial, r.control} {
		if err := s.world.Wake(opening); err != nil {
			return err
		}
	}
	// Not before: that the worlds are made is pilot's own work, and it is better
	// soon over, since production copies pages as long as there are seeds.
	if err := r.confine.groups.Yield(); err != nil {
		return err
	}
	r.guard.running(r.confine.groups)
	for _, s := range []*side{r.trial, r.control} {
		if err := s.release(); err != nil {
			return fmt.Errorf("release world %s: %w", s.world.Name, err)
		}
		s.watch = observe.New(s.world)
		if err := fault.WorldReleased.Hit(); err != nil {
			return err
		}
	}
	r.gaps = append(r.gaps, clockGap(r.trial.world, r.control.world))
	return nil
}

// hostAddresses lists the addresses of the host that are not the loopback's own.
func hostAddresses() (out []string, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.Equal(net.IPv4(127, 0, 0, 1)) || ip.IP.Equal(net.IPv6loopback) {
			continue
		}
		bits := 128
		if ip.IP.To4() != nil {
			bits = 32
		}
		out = append(out, fmt.Sprintf("%s/%d", ip.IP, bits))
	}
	return out, nil
}

func (r *run) closeWorlds() error {
	errs := []error{r.confine.hasten()}
	for _, s := range []*side{r.trial, r.control} {
		if s == nil || s.world == nil {
			continue
		}
		errs = append(errs, s.world.Close())
		s.unguard()
		if s.watch != nil {
			s.watch.Wait()
		}
		s.world = nil
		errs = append(errs, fault.WorldsClosed.Hit())
	}
	return errors.Join(errs...)
}

// close erases everything, whatever state the run is in. It does not depend on
// the run's context: production comes first.
func (r *run) close() error {
	if r.stopHeed != nil {
		r.stopHeed()
	}
	r.guard.halt()
	errs := []error{r.closeWorlds(), r.endTrace()}
	if r.tracer != nil {
		if r.snap != nil {
			errs = append(errs, r.tracer.Do(r.snap.Close), fault.SnapshotClosed.Hit())
		}
		r.tracer.Close()
	}
	errs = append(errs, r.confine.close())
	if r.image != nil {
		errs = append(errs, r.image.Remove(), fault.ImageRemoved.Hit())
	}
	errs = append(errs, os.RemoveAll(filepath.Join(r.dir, "worlds")), os.RemoveAll(filepath.Join(r.dir, "image")))
	return errors.Join(errs...)
}
