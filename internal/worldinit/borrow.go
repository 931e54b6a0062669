//go:build linux

package worldinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Who makes a user namespace and mounts in it gets the host's mounts locked to
// each other, mount_namespaces(7): what one of them covers must stay covered. So
// the kernel copies none of them without those below it, nor makes an overlay of
// it. Where the agent has joined such mounts, a lender has the same file systems
// unlocked: the agent outside.

var errNoLender = errors.New("nobody lends mounts")

// borrow returns a detached copy of the mount of the directory at path, as the
// lender has it: without what is mounted below.
func (v *view) borrow(path string) (mount sys.FD, err error) {
	if v.lender == 0 {
		return -1, errNoLender
	}
	ours, err := mountOf(path)
	if err != nil {
		return -1, err
	}
	theirs, err := procfs.Mountinfo(v.lender)
	if err != nil {
		return -1, err
	}
	var want unix.Stat_t
	if err := unix.Stat(path, &want); err != nil {
		return -1, os.NewSyscallError("stat", err)
	}
	thread := osthread.New()
	defer thread.Close()
	err = thread.Do(func() error {
		if err := sys.Enter(v.lender, sys.NewMount); err != nil {
			return err
		}
		for _, m := range theirs {
			rest, ok := below(m.Root, ours.Root)
			if m.Dev != ours.Dev || !ok {
				continue
			}
			fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(m.Point, rest), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				continue
			}
			mount = sys.FD(fd)
			// Something else may be mounted there by now.
			var got unix.Stat_t
			if err := unix.Fstat(fd, &got); err == nil && got.Dev == want.Dev && got.Ino == want.Ino {
				return nil
			}
			_ = mount.Close()
		}
		return fmt.Errorf("borrow %s: its file system is not mounted elsewhere", path)
	})
	return mount, err
}

// below returns the way from directory dir to path, and whether there is one.
func below(dir, path string) (rest string, ok bool) {
	if dir == "/" {
		return path, true
	}
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// mountOf finds the mount that path, a mount point, leads to.
func mountOf(path string) (m procfs.Mount, err error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return m, err
	}
	mounts, err := procfs.ParseMountinfo(text)
	if err != nil {
		return m, err
	}
	for _, c := range mounts {
		if c.Point == path { // of several, the last covers the others
			m = c
		}
	}
	if m.Point == "" {
		return m, fmt.Errorf("%s is no mount point", path)
	}
	return m, nil
}
