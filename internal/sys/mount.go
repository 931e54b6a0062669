//go:build linux

package sys

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CloneMount returns a detached copy of the mount at path, which is read-only
// and on which nothing becomes another user and no device is opened. With
// AT_RECURSIVE in flags it has the mounts below path as well. See open_tree(2).
func CloneMount(path string, flags uint) (FD, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("open_tree", err)
	}
	return freeze(fd, flags)
}

// FreezeMount makes a detached mount as [CloneMount] does, and returns its
// descriptor. The caller does not close mount any more.
func FreezeMount(mount FD) (FD, error) { return freeze(int(mount), 0) }

func freeze(fd int, flags uint) (FD, error) {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", flags|unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("mount_setattr", err)
	}
	return FD(fd), nil
}

// OpenFrozen opens the file at path through a read-only mount of its own. Who
// comes to the file by the descriptor, or by a program that was started from
// it, can change nothing of it, its mode included. Where the file is on a mount
// of another namespace, it opens a copy in memory.
func OpenFrozen(path string) (FD, error) {
	mount, err := CloneMount(path, 0)
	if errors.Is(err, unix.EINVAL) {
		return copyInMemory(path)
	}
	if err != nil {
		return -1, err
	}
	defer mount.Close()
	fd, err := unix.Open(fmt.Sprintf("/proc/thread-self/fd/%d", mount), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return FD(fd), os.NewSyscallError("open", err)
}

// copyInMemory copies a file into memory that can be executed, and opens it for
// reading. See memfd_create(2).
func copyInMemory(path string) (FD, error) {
	from, err := os.Open(path)
	if err != nil {
		return -1, err
	}
	defer from.Close()
	n, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	to := os.NewFile(uintptr(n), path)
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return -1, err
	}
	// A program cannot be started from a file that is open for writing.
	fd, err := unix.Open(fmt.Sprintf("/proc/thread-self/fd/%d", n), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return FD(fd), os.NewSyscallError("open", err)
}

// OpenDir opens a directory to refer to it, not to read it.
func OpenDir(path string) (FD, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return FD(fd), os.NewSyscallError("open", err)
}

// MountID tells which mount the file at path was reached by. Magic links such
// as /proc/PID/exe are followed to where they lead.
func MountID(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st); err != nil {
		return 0, os.NewSyscallError("statx", err)
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, ErrNotSupported
	}
	return st.Mnt_id, nil
}
