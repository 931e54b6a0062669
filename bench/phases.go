//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/testcluster"
)

// A moment is when a phase of a run began.
type moment struct {
	Phase string
	At    time.Time
}

// A count is how many writes had been acknowledged at a time.
type count struct {
	at    time.Time
	acked float64
}

// phases measures what each phase of a run takes from production.
func (b *bench) phases() (table, error) {
	return b.systems(table{{"system", "phase", "takes, s", "ratio", "lost, s"}}, b.phasesOf)
}

func (b *bench) phasesOf(kind testcluster.Kind, bin testcluster.Paths) (rows table, err error) {
	c, load, err := b.fullyLoaded(kind, bin, filepath.Join(b.dir, "phases", string(kind)))
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	took, ratios := map[string][]float64{}, map[string][]float64{}
	for i := range b.rounds {
		quiet, err := observe(load, func() error { time.Sleep(quietTime); return nil })
		if err != nil {
			return nil, err
		}
		var a answer
		counts, err := sample(load, func() (err error) {
			a, err = ask(request{What: "run", Spec: spec(c), Dir: filepath.Join(b.dir, "runs", fmt.Sprint("phases", kind, i), "work")})
			return err
		})
		if err != nil {
			return nil, err
		}
		for name, s := range parts(a.Moments, counts) {
			took[name] = append(took[name], s.took.Seconds())
			ratios[name] = append(ratios[name], s.acked/s.took.Seconds()/quiet.rate)
		}
	}
	for _, name := range phaseNames {
		seconds, ratio := median(took[name]), median(ratios[name])
		rows = append(rows, []string{string(kind), name, fmt.Sprintf("%.2f", seconds), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f", seconds*(1-ratio))})
	}
	return rows, nil
}

// phaseNames are in the order of a run. What is between two belongs to the first.
var phaseNames = []string{"check", "copy", "snapshot", "spawn", "act", "settle", "erase"}

// A part is what happened in a phase.
type part struct {
	took  time.Duration
	acked float64
}

// parts sums what was acknowledged by phases, of which one may begin several times.
func parts(moments []moment, counts []count) map[string]part {
	moments = slices.DeleteFunc(moments, func(m moment) bool { return !slices.Contains(phaseNames, m.Phase) })
	sums := map[string]part{}
	for i, m := range moments {
		until := counts[len(counts)-1].at
		if i+1 < len(moments) {
			until = moments[i+1].At
		}
		p := sums[m.Phase]
		sums[m.Phase] = part{p.took + until.Sub(m.At), p.acked + ackedAt(counts, until) - ackedAt(counts, m.At)}
	}
	return sums
}

// ackedAt is on the line between the two counts around t.
func ackedAt(counts []count, t time.Time) float64 {
	i := slices.IndexFunc(counts, func(c count) bool { return !c.at.Before(t) })
	if i <= 0 {
		i = 1
	}
	a, b := counts[i-1], counts[i]
	return a.acked + (b.acked-a.acked)*float64(t.Sub(a.at))/float64(b.at.Sub(a.at))
}

// sample counts writes while act goes on, before it and after it.
func sample(load *testcluster.Load, act func() error) (counts []count, err error) {
	done := make(chan error, 1)
	for started := false; ; {
		stats, err := load.Stats()
		if err != nil {
			return nil, err
		}
		counts = append(counts, count{time.Now(), float64(stats.Acked)})
		if !started {
			started = true
			go func() { done <- act() }()
		}
		select {
		case err := <-done:
			if err != nil {
				return nil, err
			}
			if stats, err = load.Stats(); err != nil {
				return nil, err
			}
			return append(counts, count{time.Now(), float64(stats.Acked)}), nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}
