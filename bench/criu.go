//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// frozen is what CRIU tells with --display-stats.
var frozen = regexp.MustCompile(`Frozen time: (\d+) us`)

// criu measures the peer that dumps processes, where it is installed.
func (b *bench) criu() (table, error) {
	t := table{{"memory", "CRIU frozen", "pause", "ratio", "goal met"}}
	path, err := exec.LookPath("criu")
	if err != nil {
		return append(t, []string{"CRIU is not installed", "", "", "", ""}), nil
	}
	for _, mib := range []int{100, 1 << 10, 4 << 10} {
		theirs, ours, err := b.besideCRIU(path, size{mib: mib, threads: 10})
		if err != nil {
			return t, fmt.Errorf("%d MiB: %w", mib, err)
		}
		goal := "-"
		if mib == 1<<10 {
			goal = "no"
			if theirs >= 20*ours {
				goal = "yes"
			}
		}
		t = append(t, []string{fmt.Sprintf("%.1f GiB", float64(mib)/1024), ms(theirs), ms(ours), ratio(theirs, ours), goal})
	}
	return t, nil
}

func (b *bench) besideCRIU(criu string, s size) (theirs, ours time.Duration, err error) {
	v, err := b.start(s)
	if err != nil {
		return 0, 0, err
	}
	defer v.stop()
	var dumps, pauses []time.Duration
	for range b.rounds {
		took, err := dump(criu, filepath.Join(b.dir, "criu"), v.pid())
		if err != nil {
			return 0, 0, err
		}
		a, err := ask(request{What: "pause", PID: v.pid(), Rounds: 1})
		if err != nil {
			return 0, 0, err
		}
		dumps, pauses = append(dumps, took), append(pauses, a.Times...)
	}
	return median(dumps), median(pauses), nil
}

// dump returns how long CRIU froze the process.
func dump(criu, dir string, pid int) (time.Duration, error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return 0, err
	}
	cmd := exec.Command(criu, "dump", "--tree", strconv.Itoa(pid), "--images-dir", dir, "--leave-running",
		"--shell-job", "--tcp-established", "--ext-unix-sk", "--display-stats", "--log-file", "dump.log")
	out, err := cmd.CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "dump.log"))
		return 0, fmt.Errorf("criu: %w\n%s%s", err, out, log[max(0, len(log)-2000):])
	}
	m := frozen.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("criu says no frozen time: %s", out)
	}
	us, err := strconv.Atoi(string(m[1]))
	return time.Duration(us) * time.Microsecond, err
}
