//go:build linux

package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Sweep removes the groups of runs whose process has died, and kills what is
// still in them: nobody but pilot puts a process there. It returns their paths.
func Sweep(hierarchies []Hierarchy) (erased []string, err error) {
	var errs []error
	for _, h := range hierarchies {
		entries, err := os.ReadDir(h.Point)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			if !e.IsDir() || !strings.HasPrefix(e.Name(), Prefix) {
				continue
			}
			dir := filepath.Join(h.Point, e.Name())
			lock, err := tryLock(dir)
			if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
				continue // a living agent's, or just removed
			}
			if err == nil {
				err = erase(dir, h.Version)
				_ = lock.Close()
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			erased = append(erased, dir)
		}
	}
	slices.Sort(erased)
	return erased, errors.Join(errs...)
}

// erase removes a run's group with its children and whatever is in them.
func erase(dir string, version int) error {
	if err := kill(dir, version); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return removeGroup(dir)
}

// kill ends every process in a run's group and its children.
func kill(dir string, version int) error {
	if version == 2 { // since Linux 5.14, and race-free
		err := writeFile(filepath.Join(dir, "cgroup.kill"), "1")
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Processes may fork meanwhile, so until none is left.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		found := 0
		lists, err := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, list := range append(lists, filepath.Join(dir, "cgroup.procs")) {
			pids, err := numbers(list)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, pid := range pids {
				if pid > 0 { // 0 is in a pid namespace that we do not see
					found++
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
		if found == 0 {
			return nil
		}
	}
	return nil // removing the group tells
}
