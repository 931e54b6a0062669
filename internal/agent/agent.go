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
	"regexp"
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
func (e Engine) Run(ctx context.Context, spec model.Spec, workDir string, progress func(phase, text string)) (*model.Report, error) {
	var report *model.Report
	err := e.Series(ctx, spec, model.Series{}, workDir, progress, func(r *model.Report) { report = r })
	if err != nil {
		return nil, err
	}
	return report, nil
}

// run is a snapshot in the making, and the rounds of it.
type run struct {
	spec     model.Spec
	series   model.Series
	dir      string
	progress Progress
	began    time.Time
	engine   Engine
	gaps     []model.Gap
	rules    []peer.Rule // for peers outside
	host     egress.Host
	readLoad HostReader
	confine  *confinement
	seeds    *cage
	guard    *guard
	nice     niceness

	tracer   *osthread.Thread
	image    *image.Image
	snap     *capture.Snapshot
	open     *round        // nil when no worlds are there
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
	name   string   // of its directory and its group; no other world has it at the same time
	action []string // nil in a control
	cage   *cage
	world  *spawn.World
	tree   *image.Tree // what the world writes to, also after its end
	watch  *observe.Watch
	// egress is nil where the kernel cannot make it.
	egress *egress.Gateway
	ward   *ward
	// recording is nil when nothing is traced, and after its end.
	recording *trace.Recording
	java      *javaNames // likewise
	seen      model.World
	// untold are the events that are missing. No rule needs them.
	untold []string
	gaps   []model.Gap // of this world alone
	// injuries are the second failures of a trial, nil for none.
	injuries *injuries
	logRules []*regexp.Regexp
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
	r.spec.Limits = plan.Limits(r.spec.Limits, reading.Room, r.worlds())
	if r.confine, err = confine(groupName(r.dir), r.spec.Limits, r.worlds()); err != nil {
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
	refusals = append(refusals, plan.RefuseRoom(processFacts(facts), r.spec.Limits, reading.Room, r.worlds(), r.series.Rounds)...)
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
	if err := r.image.Room(ctx, r.worlds()); err != nil {
		return refusedCopy(err)
	}
	if err := fault.AgentCopied.Hit(); err != nil {
		return err
	}
	r.nice.usual() // until the first worlds run
	r.openTrace()
	expected := r.predicted
	r.progress("snapshot", fmt.Sprintf("production stops for at most %v, for about %s and the comparison of files (stop %s, capture %s, fork %s)",
		r.spec.MaxPause, ms(expected.Total), ms(expected.Stop), ms(expected.Capture), ms(expected.Fork)))
	if r.seeds, err = r.confine.cage("seeds", 0); err != nil {
		return err
	}
	r.confine.hurry(r.seeds) // until the first worlds are made
	r.tracer = osthread.New()
	err = r.tracer.Do(func() (err error) {
		r.snap, err = capture.Take(ctx, capture.Config{
			Members: r.spec.Members, MaxPause: r.spec.MaxPause, Image: r.image, Confine: r.seeds.Add,
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

// close erases everything, whatever state the run is in. It does not depend on
// the run's context: production comes first.
func (r *run) close() error {
	if r.stopHeed != nil {
		r.stopHeed()
	}
	r.guard.halt()
	errs := []error{r.open.close(), r.endTrace()}
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
