//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/collapse"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/spawn"
)

// A footprint is what one more world costs.
type footprint struct {
	Spawn time.Duration
	KiB   int64 // memory of its processes that nothing else has, page tables included
}

const manyWorlds = 8

// worlds measures the second to the eighth world of a snapshot.
func (b *bench) worlds() (table, error) {
	t := table{{"memory of the member", "fork(2)", "1st world", "2nd", "4th", "8th", "ratio of the 8th to fork(2)", "memory of a world, MiB"}}
	for _, mib := range []int{100, 1 << 10, 4 << 10} {
		v, err := b.start(size{mib: mib, threads: 10})
		if err != nil {
			return t, err
		}
		var forks []time.Duration
		all := make([][]footprint, manyWorlds)
		for range b.rounds {
			took, err := v.fork(1)
			var a answer
			if err == nil {
				a, err = ask(request{What: "worlds", PID: v.pid(), Dir: filepath.Join(b.dir, "worlds")})
			}
			if err != nil {
				v.stop()
				return t, err
			}
			forks = append(forks, took...)
			for i, f := range a.Worlds {
				all[i] = append(all[i], f)
			}
		}
		v.stop()
		spawn := func(n int) time.Duration {
			return median(each(all[n-1], func(f footprint) time.Duration { return f.Spawn }))
		}
		kib := median(each(all[manyWorlds-1], func(f footprint) int64 { return f.KiB }))
		t = append(t, []string{
			fmt.Sprintf("%.1f GiB", float64(mib)/1024), ms(median(forks)), ms(spawn(1)), ms(spawn(2)), ms(spawn(4)), ms(spawn(8)),
			ratio(spawn(8), median(forks)), fmt.Sprintf("%.1f", float64(kib)/1024),
		})
	}
	return t, nil
}

// worlds makes worlds of one snapshot. None of them runs.
func (a *answer) worlds(pid int, dir string) error {
	tracer := osthread.New()
	defer tracer.Close()
	members := []model.Member{{Name: "victim", PID: pid}}
	var snap *capture.Snapshot
	err := tracer.Do(func() (err error) {
		snap, err = capture.Take(context.Background(), capture.Config{Members: members, MaxPause: 10 * time.Second})
		return err
	})
	if err != nil {
		return err
	}
	var all []*spawn.World
	for i := range manyWorlds {
		w, serr := spawn.New(context.Background(), tracer, snap, spawn.Config{
			Name: fmt.Sprint("world", i), Dir: filepath.Join(dir, fmt.Sprint(i)), Members: members,
		})
		if err = serr; err != nil {
			break
		}
		all = append(all, w)
		f := footprint{Spawn: w.Spawn}
		for _, ph := range w.Phantoms() {
			kib, merr := own(ph.HostPID)
			f.KiB, err = f.KiB+kib, errors.Join(err, merr)
		}
		a.Worlds = append(a.Worlds, f)
	}
	for _, w := range all {
		err = errors.Join(err, w.Close())
	}
	return errors.Join(err, tracer.Do(snap.Close), os.RemoveAll(dir))
}

// own is the memory that only process pid has, in KiB.
func own(pid int) (kib int64, err error) {
	vmas, err := procfs.Smaps(pid)
	if err != nil {
		return 0, err
	}
	for _, v := range vmas {
		kib += int64(v.PrivateDirty+v.PrivateClean) >> 10
	}
	s, err := procfs.ReadStatus(pid)
	return kib + s.PageTables>>10, err
}

// collapses measures the pause before and after memory was put into huge pages.
func (b *bench) collapses() (table, error) {
	t := table{{"memory", "pause before", "after", "ratio", "took, s", "longest call", "a mapping takes, else", "meanwhile", "huge pages"}}
	for _, mib := range []int{256, 1 << 10} {
		var before, after, took, worst, usual, held []time.Duration
		var pages []int
		for range b.rounds {
			v, err := b.start(size{mib: mib, plain: true})
			if err != nil {
				return t, err
			}
			time.Sleep(time.Second)
			first, err := ask(request{What: "pause", PID: v.pid(), Rounds: 1})
			var done, second answer
			var alone, beside time.Duration
			if err == nil {
				_, err = v.gap()
				time.Sleep(3 * time.Second)
			}
			if err == nil {
				alone, err = v.gap()
			}
			if err == nil {
				done, err = ask(request{What: "collapse", PID: v.pid()})
			}
			if err == nil {
				beside, err = v.gap()
			}
			if err == nil {
				second, err = ask(request{What: "pause", PID: v.pid(), Rounds: 1})
			}
			v.stop()
			if err != nil {
				return t, err
			}
			before, after = append(before, first.Times...), append(after, second.Times...)
			usual, held = append(usual, alone), append(held, beside)
			took, worst, pages = append(took, done.Times...), append(worst, done.Collapsed.Worst), append(pages, done.Collapsed.Pages)
		}
		t = append(t, []string{
			fmt.Sprintf("%.1f GiB", float64(mib)/1024), ms(median(before)), ms(median(after)), ratio(median(after), median(before)),
			fmt.Sprintf("%.1f", median(took).Seconds()), ms(median(worst)), ms(median(usual)), ms(median(held)), fmt.Sprint(median(pages)),
		})
	}
	return t, nil
}

func (a *answer) collapse(pid int) error {
	began := time.Now()
	at, err := collapse.Candidates(pid)
	if err != nil {
		return err
	}
	a.Collapsed, err = collapse.Do(context.Background(), pid, at)
	a.Times = append(a.Times, time.Since(began))
	return err
}
