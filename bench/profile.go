//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// profile tells of what the pause of a cluster consists.
func (b *bench) profile() (table, error) {
	t := table{{"part", "time", "share", "of", "us each"}}
	bin, err := testcluster.Build(b.ctx, testcluster.Etcd)
	if err != nil {
		return t, err
	}
	c, err := testcluster.Start(b.ctx, testcluster.Etcd, filepath.Join(b.dir, "profile"), bin, testcluster.Etcd.DefaultSize())
	if err != nil {
		return t, err
	}
	defer c.Stop()
	if _, err := c.StartLoad(b.ctx, testcluster.LoadConfig{}); err != nil {
		return t, err
	}
	a, err := ask(request{What: "pauses", Spec: spec(c), Rounds: 10 * b.rounds})
	if err != nil {
		return t, err
	}
	middle := func(of func(model.Pause) int) int { return median(each(a.Pauses, of)) }
	total := middle(func(p model.Pause) int { return int(p.Total) })
	threads := middle(func(p model.Pause) int { return p.Threads })
	objects := middle(func(p model.Pause) int { return p.Objects })
	for _, part := range []struct {
		name string
		of   func(model.Pause) time.Duration
		n    int
		each string
	}{
		{"stop every thread", func(p model.Pause) time.Duration { return p.Stop }, threads, "threads"},
		{"read threads, descriptors and memory that is shared", func(p model.Pause) time.Duration { return p.Capture }, objects, "descriptions"},
		{"clones: what is left of them then", func(p model.Pause) time.Duration { return p.Fork }, len(c.Members), "processes"},
		{"let go", func(p model.Pause) time.Duration { return p.Release }, threads, "threads"},
	} {
		took := middle(func(p model.Pause) int { return int(part.of(p)) })
		t = append(t, []string{
			part.name, ms(time.Duration(took)), fmt.Sprintf("%d %%", 100*took/total), fmt.Sprintf("%d %s", part.n, part.each), fmt.Sprintf("%.0f", float64(took)/1000/float64(part.n)),
		})
	}
	t = append(t, []string{"all", ms(time.Duration(total)), "", "", ""})
	for _, own := range []struct {
		name string
		of   func(model.Pause) int
	}{
		{"collections of garbage in the agent", func(p model.Pause) int { return p.Collections }},
		{"allocations in the agent", func(p model.Pause) int { return p.Allocations }},
		{"page faults of its tracer", func(p model.Pause) int { return p.Faults }},
		{"page faults that read a disk", func(p model.Pause) int { return p.Reads }},
	} {
		t = append(t, []string{own.name, "", "", fmt.Sprint(middle(own.of)), ""})
	}
	return t, nil
}
