//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/testcluster"
)

// filesystems measures the pause of real clusters by where their data are.
func (b *bench) filesystems() (table, error) {
	t := table{{"system", "file system", "way", "writes/s alone", "ratio during a run", "pause", "of it for files", "longest pause", "slowest write", "connections lost"}}
	bin, err := testcluster.Build(b.ctx)
	if err != nil {
		return t, err
	}
	for _, fs := range []string{"ext4", "xfs", "btrfs", "tmpfs"} {
		for _, kind := range testcluster.Kinds {
			if !b.system.MatchString(string(kind)) {
				continue
			}
			row, err := b.onFileSystem(fs, kind, bin)
			if err != nil {
				return t, fmt.Errorf("%s on %s: %w", kind, fs, err)
			}
			t = append(t, row)
		}
	}
	return t, nil
}

func (b *bench) onFileSystem(fs string, kind testcluster.Kind, bin testcluster.Paths) (row []string, err error) {
	top, unmount, err := b.mount(fs)
	if err != nil {
		return nil, err
	}
	defer func() {
		if uerr := unmount(); err == nil {
			err = uerr
		}
	}()
	c, load, err := b.fullyLoaded(kind, bin, filepath.Join(top, "cluster"))
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	time.Sleep(5 * time.Second) // logs have their size
	var pauses, files []time.Duration
	var way string
	s := spec(c)
	s.Action, s.Settle = []string{"/bin/sleep", "1"}, time.Second
	var alone, ratios []float64
	var slowest float64
	for i := range b.rounds {
		quiet, err := observe(load, func() error { time.Sleep(3 * time.Second); return nil }) // about what a run takes
		if err != nil {
			return nil, err
		}
		var a answer
		busy, err := observe(load, func() (err error) {
			a, err = ask(request{What: "run", Spec: s, Dir: filepath.Join(b.dir, "runs", fmt.Sprint(fs, kind, i), "work")})
			return err
		})
		if err != nil {
			return nil, err
		}
		alone, ratios, slowest = append(alone, quiet.rate), append(ratios, busy.rate/quiet.rate), max(slowest, busy.max)
		pauses, files = append(pauses, a.Report.Pause.Total), append(files, a.Report.Pause.Files)
		way = a.Report.Data[0].Way
	}
	stats, err := load.Stop()
	if err != nil {
		return nil, err
	}
	if stats.Errors > 0 {
		return nil, fmt.Errorf("production's clients saw %d errors: %s", stats.Errors, stats.FirstError)
	}
	return []string{
		string(kind), fs, way, fmt.Sprintf("%.0f", median(alone)), fmt.Sprintf("%.2f", median(ratios)), ms(median(pauses)), ms(median(files)), ms(most(pauses)),
		fmt.Sprintf("%.0f", slowest), fmt.Sprint(stats.Losses),
	}, nil
}

// mount makes a file system, on a file where it needs a disk.
func (b *bench) mount(fs string) (top string, unmount func() error, err error) {
	dir, err := os.MkdirTemp(b.dir, fs)
	if err != nil {
		return "", nil, err
	}
	top = filepath.Join(dir, "mnt")
	if err := os.Mkdir(top, 0o755); err != nil {
		return "", nil, err
	}
	mount := []string{"mount", "-t", "tmpfs", "-o", "size=4g", "bench", top}
	if fs != "tmpfs" {
		disk := filepath.Join(dir, "disk")
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			return "", nil, err
		}
		if err := os.Truncate(disk, 16<<30); err != nil {
			return "", nil, err
		}
		if err := command("mkfs."+fs, "-q", disk); err != nil {
			return "", nil, err
		}
		mount = []string{"mount", "-o", "loop", disk, top}
	}
	if err := command(mount...); err != nil {
		return "", nil, err
	}
	return top, func() error { return command("umount", top) }, nil
}

func command(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}
