//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

const (
	// lowWeight is what the run gets of the processor where groups cannot be idle.
	lowWeight = 2
	// highestWeight puts the run before all others.
	highestWeight = 10000
	// rationPeriod is the time in which a ration is given out. It bounds how long
	// others may have to wait.
	rationPeriod = 20 * time.Millisecond
)

// Yield lets the run have only what of the processors nobody else wants: tasks
// of an idle group, since Linux 5.15, are preempted as soon as another wakes up.
// Before, a low weight has to do.
func (r *Run) Yield() error {
	return r.processor("yield the processor", func(p place) error {
		err := writeFile(filepath.Join(p.dir, "cpu.idle"), "1")
		if errors.Is(err, fs.ErrNotExist) {
			err = limit(p.dir, p.Version, "cpu", Limits{CPUWeight: lowWeight})
		}
		return errors.Join(err, p.ration(0))
	})
}

// Ration gives the run so many of the processors, a fraction, before others and
// no more. Without the kernel's bandwidth control (CONFIG_CFS_BANDWIDTH) the
// error is [fs.ErrNotExist], and nothing has changed.
func (r *Run) Ration(processors float64) error {
	return r.processor("ration the processor", func(p place) error {
		if err := p.ration(processors); err != nil {
			return err
		}
		return p.weigh(highestWeight)
	})
}

// Hasten gives the run a group's usual share of the processors again, so that
// what is killed ends soon: a process that gets no processor cannot even die.
func (r *Run) Hasten() error {
	if r == nil {
		return nil
	}
	return r.processor("hasten the worlds' end", func(p place) error {
		return errors.Join(p.weigh(DefaultWeight), p.ration(0))
	})
}

// realtimePeriod is the time in which a share of real-time priority is given out,
// of each processor. A group that has used up its share waits, also on an idle
// host, so the period is long enough for the fork of a large process.
const realtimePeriod = time.Second

// Hurry lets the run's groups have real-time priority: see [Group.Hurry].
func (r *Run) Hurry() {
	_ = r.processor("hurry", func(p place) error { return p.realtime(90) })
}

// Calm takes back what Hurry has given, once it was taken from the groups.
func (r *Run) Calm() error {
	return r.processor("calm", func(p place) error { return p.realtime(0) })
}

// Hurry lets threads of the group have real-time priority. Only version 1 gives
// each group a share of that, and only with CONFIG_RT_GROUP_SCHED: elsewhere nothing
// is done, and where no share is left the group does without. The run's own share
// suffices for two groups at a time.
func (g *Group) Hurry() {
	for _, p := range g.places {
		_ = p.realtime(45)
	}
}

// Calm takes back what Hurry has given. It is an error while a thread has
// real-time priority.
func (g *Group) Calm() error {
	for _, p := range g.places {
		if err := p.realtime(0); err != nil {
			return err
		}
	}
	return nil
}

// realtime lets threads of a group have real-time priority for so many percent
// of the time, where that depends on the group.
func (p place) realtime(percent int64) error {
	if p.Version != 1 || !slices.Contains(p.Controllers, "cpu") {
		return nil
	}
	period := realtimePeriod.Microseconds()
	for _, f := range []struct {
		name  string
		value int64
	}{{"cpu.rt_period_us", period}, {"cpu.rt_runtime_us", period * percent / 100}} {
		if err := optional(writeFile(filepath.Join(p.dir, f.name), fmt.Sprint(f.value))); err != nil {
			return fmt.Errorf("real-time priority of %s: %w", p.dir, err)
		}
	}
	return nil
}

// processor acts where the run has the processor's controller.
func (r *Run) processor(what string, act func(place) error) error {
	for _, p := range r.places {
		if !slices.Contains(p.Controllers, "cpu") {
			continue
		}
		if err := act(p); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// weigh gives a group a weight. An idle one takes none.
func (p place) weigh(weight int) error {
	if err := optional(writeFile(filepath.Join(p.dir, "cpu.idle"), "0")); err != nil {
		return err
	}
	return limit(p.dir, p.Version, "cpu", Limits{CPUWeight: weight})
}

// ration bounds the processors that a group has; 0 takes the bound away, where
// there can be one.
func (p place) ration(processors float64) error {
	// The kernel takes no less, min_cfs_quota_period in kernel/sched/core.c.
	quota := max(time.Millisecond, time.Duration(processors*float64(rationPeriod))).Microseconds()
	period := rationPeriod.Microseconds()
	files := [][2]string{{"cpu.cfs_period_us", fmt.Sprint(period)}, {"cpu.cfs_quota_us", fmt.Sprint(quota)}}
	none := [][2]string{{"cpu.cfs_quota_us", "-1"}}
	if p.Version == 2 {
		files, none = [][2]string{{"cpu.max", fmt.Sprint(quota, " ", period)}}, [][2]string{{"cpu.max", "max"}}
	}
	if processors == 0 {
		files = none
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(p.dir, f[0]), f[1]); err != nil {
			if processors == 0 {
				return optional(err)
			}
			return err
		}
	}
	return nil
}
