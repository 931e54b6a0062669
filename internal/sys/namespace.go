//go:build linux

package sys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Namespaces that [Enter] joins.
const (
	NewNet   = unix.CLONE_NEWNET
	NewMount = unix.CLONE_NEWNS
)

// Enter moves the calling thread into namespaces of process pid. The thread
// must be locked to its goroutine and never be given back to the runtime.
func Enter(pid, spaces int) error {
	if spaces&NewMount != 0 {
		// setns refuses a thread that shares its root and working directory.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
	}
	pidfd, err := PidfdOpen(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return os.NewSyscallError("setns", unix.Setns(int(pidfd), spaces))
}

// ParentNamespace returns the inode number of the namespace that one of process
// pid's is in: of kind "pid" or "user", the others are in none. See ioctl_ns(2).
func ParentNamespace(pid int, kind string) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const getParent = 0xb702 // NS_GET_PARENT, include/uapi/linux/nsfs.h
	fd, err := unix.IoctlRetInt(int(f.Fd()), getParent)
	if err != nil {
		return 0, os.NewSyscallError("ioctl ns_get_parent", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Ino, nil
}
