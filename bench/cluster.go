//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// A stretch is how production fared for some time.
type stretch struct {
	rate, p50, p99, max float64 // writes a second; milliseconds
}

// full measures real servers whose clients write as fast as they can.
func (b *bench) full() (table, error) {
	return b.clusters(func(*testcluster.Cluster) (int, error) { return testcluster.Unlimited, nil })
}

// half measures them at half of that.
func (b *bench) half() (table, error) {
	return b.clusters(func(c *testcluster.Cluster) (int, error) {
		load, err := c.StartLoad(b.ctx, testcluster.LoadConfig{Rate: testcluster.Unlimited})
		if err != nil {
			return 0, err
		}
		most, err := observe(load, func() error { time.Sleep(quietTime); return nil })
		if err != nil {
			return 0, err
		}
		_, err = load.Stop()
		return int(most.rate / 2), err
	})
}

// quietTime is about what a run takes.
const quietTime = 7 * time.Second

// clusters measures real servers, without and with a run. demand returns how many
// writes a second the clients of one want.
func (b *bench) clusters(demand func(*testcluster.Cluster) (int, error)) (table, error) {
	t := table{{"system", "pause", "writes/s alone", "during a run", "ratio", "p50 alone, during", "p99 alone, during", "slowest alone, during", "worlds run after, s", "a world in 30 s: memory, written, MiB"}}
	return b.systems(t, func(kind testcluster.Kind, bin testcluster.Paths) (table, error) {
		row, err := b.cluster(kind, bin, demand)
		return table{row}, err
	})
}

// systems adds to t what measure finds of each system that is asked for.
func (b *bench) systems(t table, measure func(testcluster.Kind, testcluster.Paths) (table, error)) (table, error) {
	bin, err := testcluster.Build(b.ctx)
	if err != nil {
		return t, err
	}
	for _, kind := range testcluster.Kinds {
		if !b.system.MatchString(string(kind)) {
			continue
		}
		rows, err := measure(kind, bin)
		if err != nil {
			return t, fmt.Errorf("%s: %w", kind, err)
		}
		t = append(t, rows...)
	}
	return t, nil
}

// fullyLoaded starts servers below dir, and clients that write as fast as they can.
func (b *bench) fullyLoaded(kind testcluster.Kind, bin testcluster.Paths, dir string) (*testcluster.Cluster, *testcluster.Load, error) {
	c, err := testcluster.Start(b.ctx, kind, dir, bin, kind.DefaultSize())
	if err != nil {
		return nil, nil, err
	}
	load, err := c.StartLoad(b.ctx, testcluster.LoadConfig{Rate: testcluster.Unlimited})
	if err != nil {
		c.Stop()
		return nil, nil, err
	}
	return c, load, nil
}

func (b *bench) cluster(kind testcluster.Kind, bin testcluster.Paths, demand func(*testcluster.Cluster) (int, error)) ([]string, error) {
	c, err := testcluster.Start(b.ctx, kind, filepath.Join(b.dir, string(kind)), bin, kind.DefaultSize())
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	wanted, err := demand(c)
	if err != nil {
		return nil, err
	}
	load, err := c.StartLoad(b.ctx, testcluster.LoadConfig{Rate: wanted})
	if err != nil {
		return nil, err
	}
	var alone, during []stretch
	var ratios []float64
	var pauses, released []time.Duration
	for i := range b.rounds {
		quiet, err := observe(load, func() error { time.Sleep(quietTime); return nil })
		if err != nil {
			return nil, err
		}
		var a answer
		busy, err := observe(load, func() (err error) {
			a, err = ask(request{What: "run", Spec: spec(c), Dir: filepath.Join(b.dir, "runs", fmt.Sprint(kind, i), "work")})
			return err
		})
		if err != nil {
			return nil, err
		}
		r := a.Report
		if r.Verdict.Status != model.Pass {
			return nil, fmt.Errorf("verdict %s: %s", r.Verdict.Status, r.Verdict.Reason)
		}
		alone, during, ratios = append(alone, quiet), append(during, busy), append(ratios, busy.rate/quiet.rate)
		pauses, released = append(pauses, r.Pause.Total), append(released, a.Released)
	}
	long := spec(c)
	long.Action = []string{"/bin/sleep", "28"}
	a, err := ask(request{What: "run", Spec: long, Dir: filepath.Join(b.dir, "runs", fmt.Sprint(kind), "work")})
	if err != nil {
		return nil, err
	}
	use := a.Report.Trial.Use
	stats, err := load.Stop()
	if err != nil {
		return nil, err
	}
	if stats.Errors > 0 || stats.Losses > 0 {
		return nil, fmt.Errorf("production's clients saw %d errors (%s) and lost %d connections", stats.Errors, stats.FirstError, stats.Losses)
	}
	pair := func(of func(stretch) float64) string {
		return fmt.Sprintf("%.1f, %.1f", median(each(alone, of)), median(each(during, of)))
	}
	return []string{
		string(kind), ms(median(pauses)),
		fmt.Sprintf("%.0f", median(each(alone, rate))), fmt.Sprintf("%.0f", median(each(during, rate))), fmt.Sprintf("%.2f", median(ratios)),
		pair(func(s stretch) float64 { return s.p50 }), pair(func(s stretch) float64 { return s.p99 }), pair(func(s stretch) float64 { return s.max }),
		fmt.Sprintf("%.2f", median(released).Seconds()), fmt.Sprintf("%d, %d", use.Memory>>20, use.Written>>20),
	}, nil
}

func rate(s stretch) float64 { return s.rate }

func each[A, B any](all []A, of func(A) B) (out []B) {
	for _, s := range all {
		out = append(out, of(s))
	}
	return out
}

// spec is a run with an action that does nothing for a while.
func spec(c *testcluster.Cluster) model.Spec {
	s := model.Spec{
		Action: []string{"/bin/sleep", "3"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
		MaxPause: 500 * time.Millisecond, Timeout: time.Minute, Settle: 2 * time.Second,
		Limits: model.Limits{MaxMemory: 2 << 30, MaxDisk: 4 << 30, MaxMemoryPressure: 100, MaxIOPressure: 100},
	}
	for _, m := range c.Members {
		s.Members = append(s.Members, model.Member{Name: m.Name, PID: m.PID, Args: m.Args, Data: []string{m.Data}})
	}
	return s
}

// observe measures production while act goes on.
func observe(load *testcluster.Load, act func() error) (s stretch, err error) {
	before, err := load.Stats()
	if err != nil {
		return s, err
	}
	began := time.Now()
	if err := act(); err != nil {
		return s, err
	}
	took := time.Since(began)
	after, err := load.Stats()
	if err != nil {
		return s, err
	}
	return stretch{
		rate: float64(after.Acked-before.Acked) / took.Seconds(),
		p50:  after.RecentP50MS, p99: after.RecentP99MS, max: after.RecentMaxLatencyMS,
	}, nil
}
