//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
)

// series makes run after run of one process, and looks for what grows.
func (b *bench) series() (table, error) {
	t := table{{"", "before", "after", "grown"}}
	v, err := b.start(size{mib: 64, threads: 10, conns: 50})
	if err != nil {
		return t, err
	}
	defer v.stop()
	s := model.Spec{
		Members: []model.Member{{Name: "victim", PID: v.pid()}},
		Action:  []string{"/bin/true"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"},
		MaxPause: time.Second, Timeout: time.Minute, Settle: 10 * time.Millisecond,
		Limits: model.Limits{MaxMemory: 1 << 30, MaxDisk: 1 << 30, MaxMemoryPressure: 100, MaxIOPressure: 100},
	}
	var pauses, runs []time.Duration
	once := func() error {
		began := time.Now()
		a, err := ask(request{What: "run", Spec: s, Dir: filepath.Join(b.dir, "series", "work")})
		if err != nil {
			return err
		}
		pauses, runs = append(pauses, a.Report.Pause.Total), append(runs, time.Since(began))
		return os.RemoveAll(filepath.Join(b.dir, "series"))
	}
	if err := once(); err != nil { // what comes once only
		return t, err
	}
	before, err := weigh(v.pid())
	if err != nil {
		return t, err
	}
	pauses, runs = nil, nil
	for range 4 * b.rounds {
		if err := once(); err != nil {
			return t, err
		}
	}
	after, err := weigh(v.pid())
	if err != nil {
		return t, err
	}
	for i, w := range before {
		t = append(t, []string{w.what, fmt.Sprint(w.n), fmt.Sprint(after[i].n), fmt.Sprint(after[i].n - w.n)})
	}
	half := len(pauses) / 2
	t = append(t,
		[]string{fmt.Sprintf("pause, first and second half of %d runs", len(pauses)), ms(median(pauses[:half])), ms(median(pauses[half:])), ratio(median(pauses[half:]), median(pauses[:half]))},
		[]string{"a whole run", ms(median(runs[:half])), ms(median(runs[half:])), ratio(median(runs[half:]), median(runs[:half]))})
	return t, nil
}

// A weight is one of the things that might grow.
type weight struct {
	what string
	n    int
}

// weigh looks at production and the host.
func weigh(pid int) ([]weight, error) {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return nil, err
	}
	vmas, err := procfs.Maps(pid)
	if err != nil {
		return nil, err
	}
	fds, err := procfs.FDs(pid)
	if err != nil {
		return nil, err
	}
	children, err := procfs.Children(pid)
	if err != nil {
		return nil, err
	}
	mounts, err := procfs.Mountinfo(os.Getpid())
	if err != nil {
		return nil, err
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/pilot-*")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob("/var/tmp/pilot-*")
	if err != nil {
		return nil, err
	}
	return []weight{
		{"production: resident KiB", int(status.Resident >> 10)}, {"threads", status.Threads}, {"mappings", len(vmas)}, {"descriptors", len(fds)},
		{"children", len(children)}, {"host: mounts", len(mounts)}, {"control groups of pilot's", len(groups)}, {"files of pilot's in /var/tmp", len(files)},
	}, nil
}
