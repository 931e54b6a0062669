//go:build linux

package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

func selfPID() int { return os.Getpid() }

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }

// writeFile writes one value. A control file takes a write whole or not at all.
func writeFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// tryLock locks a group's directory for this process alone, or returns
// [errLocked]. The lock ends with the process, however that dies, so that a
// group whose lock can be had belongs to nobody.
func tryLock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		// Somebody may have swept it between open and lock.
		var now, then fs.FileInfo
		if then, err = f.Stat(); err == nil {
			now, err = os.Stat(dir)
		}
		if err == nil && os.SameFile(now, then) {
			return f, nil
		}
		if err == nil {
			err = fs.ErrNotExist
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	return nil, errors.Join(err, f.Close())
}

var errLocked = errors.New("belongs to a living process")

// patience bounds the wait for a group to become empty: its processes have been
// killed, but take some time to die.
const patience = 5 * time.Second

// removeGroup removes one group. A group is busy until the last of its
// processes has given up its memory.
func removeGroup(dir string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := syscall.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline):
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
}
