//go:build linux

package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/btrfs.h.
const (
	snapCreateV2 = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
	snapDestroy  = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	subvolRdonly = 2          // BTRFS_SUBVOL_RDONLY

	noCow = 0x00800000 // FS_NOCOW_FL, include/uapi/linux/fs.h
)

// volArgsV2 is struct btrfs_ioctl_vol_args_v2.
type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [4040]byte
}

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	fd   int64
	name [4088]byte
}

// SnapshotSubvolume makes name in directory dir a snapshot of the btrfs
// subvolume whose top directory is src. Dirty pages of src are written
// synchronously. Subvolumes that are nested in src become empty directories.
func SnapshotSubvolume(src, dir FD, name string, readOnly bool) error {
	args := volArgsV2{fd: int64(src)}
	if readOnly {
		args.flags = subvolRdonly
	}
	if len(name) >= len(args.name) {
		return os.NewSyscallError("ioctl BTRFS_IOC_SNAP_CREATE_V2", unix.ENAMETOOLONG)
	}
	copy(args.name[:], name)
	return restart("ioctl BTRFS_IOC_SNAP_CREATE_V2", func() error {
		return ioctlPointer(dir, snapCreateV2, unsafe.Pointer(&args))
	})
}

// DestroySubvolume removes the btrfs subvolume name of directory dir with all
// that is in it, but no subvolume nested in it: then it is ENOTEMPTY.
func DestroySubvolume(dir FD, name string) error {
	var args volArgs
	if len(name) >= len(args.name) {
		return os.NewSyscallError("ioctl BTRFS_IOC_SNAP_DESTROY", unix.ENAMETOOLONG)
	}
	copy(args.name[:], name)
	return restart("ioctl BTRFS_IOC_SNAP_DESTROY", func() error {
		return ioctlPointer(dir, snapDestroy, unsafe.Pointer(&args))
	})
}

func ioctlPointer(fd FD, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// OpenUnnamed makes a file without a name on the file system of directory dir,
// open for reading and writing. Nobody sees it, and it ends with its last
// descriptor. The caller closes it. See O_TMPFILE in open(2).
func OpenUnnamed(dir string) (FD, error) {
	return OpenAt(unix.AT_FDCWD, dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
}

// NoCow reports whether the file is never copied on write (chattr +C).
func NoCow(fd FD) bool {
	flags, err := unix.IoctlGetInt(int(fd), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&noCow != 0
}

// SetNoCow sets or clears chattr's +C of an empty file.
func SetNoCow(fd FD, on bool) error {
	flags, err := unix.IoctlGetInt(int(fd), unix.FS_IOC_GETFLAGS)
	if err == nil {
		flags &^= noCow
		if on {
			flags |= noCow
		}
		err = unix.IoctlSetPointerInt(int(fd), unix.FS_IOC_SETFLAGS, flags)
	}
	return os.NewSyscallError("ioctl FS_IOC_SETFLAGS", err)
}

// OpenLimit returns how many descriptors this process may have. See getrlimit(2).
func OpenLimit() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return l.Cur
}
