//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// InodeFlags returns the flags of chattr(1), FS_..._FL of ioctl_iflags(2).
func InodeFlags(fd FD) (int, error) {
	flags, err := unix.IoctlGetInt(int(fd), unix.FS_IOC_GETFLAGS)
	return flags, os.NewSyscallError("ioctl FS_IOC_GETFLAGS", err)
}

// DAX reports whether the content of fd passes the page cache by, statx(2).
func DAX(fd FD) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(int(fd), "", unix.AT_EMPTY_PATH, 0, &st)
	return st.Attributes&unix.STATX_ATTR_DAX != 0, os.NewSyscallError("statx", err)
}
