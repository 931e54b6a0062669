//go:build linux

package sys

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FileInfo is struct stat with the same field types on every architecture.
type FileInfo struct {
	Dev, Ino, Nlink     uint64
	Mode                uint32 // type and permission bits, as in st_mode
	UID, GID            uint32
	Rdev                uint64
	Size                int64
	Blocks              int64 // allocated, in units of 512 bytes
	Atime, Mtime, Ctime syscall.Timespec
}

// Type returns the S_IFMT bits of the mode.
func (fi *FileInfo) Type() uint32 { return fi.Mode & syscall.S_IFMT }

// An Xattr is one extended attribute of a file.
type Xattr struct {
	Name  string
	Value []byte
}

// FSInfo tells what [Statfs] says of a file system.
type FSInfo struct {
	Magic uint32 // f_type
	Avail int64  // bytes that an unprivileged user could still allocate
	Total int64  // bytes; 0 for a tmpfs without a limit
	Used  int64  // bytes
}

func fileInfo(st *unix.Stat_t) FileInfo {
	return FileInfo{
		Dev: uint64(st.Dev), Ino: st.Ino, Nlink: uint64(st.Nlink),
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: uint64(st.Rdev),
		Size: st.Size, Blocks: st.Blocks,
		Atime: syscall.Timespec(st.Atim), Mtime: syscall.Timespec(st.Mtim), Ctime: syscall.Timespec(st.Ctim),
	}
}

// restart repeats call while a signal interrupts it.
func restart(name string, call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return os.NewSyscallError(name, err)
		}
	}
}

// Fstat describes an open file. See fstat(2).
func Fstat(fd FD) (FileInfo, error) {
	var st unix.Stat_t
	err := restart("fstat", func() error { return unix.Fstat(int(fd), &st) })
	return fileInfo(&st), err
}

// FstatAt describes name in directory dir, without following a symbolic link
// that name is. See fstatat(2).
func FstatAt(dir FD, name string) (FileInfo, error) {
	var st unix.Stat_t
	for { // without restart, whose closure would cost two allocations a file
		err := unix.Fstatat(int(dir), name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
		if err != unix.EINTR {
			return fileInfo(&st), os.NewSyscallError("fstatat", err)
		}
	}
}

// Stat describes what path leads to, following links. See stat(2).
func Stat(path string) (FileInfo, error) {
	var st unix.Stat_t
	err := restart("stat", func() error { return unix.Stat(path, &st) })
	return fileInfo(&st), err
}

// OpenAt opens name in directory dir with O_CLOEXEC. The caller closes it.
// See openat(2).
func OpenAt(dir FD, name string, flags int, mode uint32) (fd FD, err error) {
	err = restart("openat", func() (err error) {
		n, err := unix.Openat(int(dir), name, flags|unix.O_CLOEXEC, mode)
		fd = FD(n)
		return err
	})
	return fd, err
}

// OpenQuiet opens name in directory dir for reading so that its access time
// stays as it is. O_NOATIME needs the owner or CAP_FOWNER; without either the
// kernel's atime policy applies. The caller closes it.
func OpenQuiet(dir FD, name string, flags int) (FD, error) {
	fd, err := OpenAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOATIME|flags, 0)
	if errnoOf(err) == unix.EPERM {
		fd, err = OpenAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	}
	return fd, err
}

func errnoOf(err error) error {
	if e, ok := err.(*os.SyscallError); ok {
		return e.Err
	}
	return err
}

// ReadNames returns the names in the open directory dir, without "." and "..".
// buf is scratch space. See getdents64(2).
func ReadNames(dir FD, buf []byte) ([]string, error) {
	var names []string
	for {
		n := 0
		err := restart("getdents64", func() (err error) {
			n, err = unix.ReadDirent(int(dir), buf)
			return err
		})
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// ReadlinkAt returns the target of the symbolic link name in directory dir.
// See readlinkat(2).
func ReadlinkAt(dir FD, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := restart("readlinkat", func() (err error) {
		n, err = unix.Readlinkat(int(dir), name, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// Clone makes dst share all blocks of src. Bytes of dst behind the end of src
// stay, so truncate dst first. Dirty pages of src are written synchronously.
// See ioctl_ficlone(2).
func Clone(dst, src FD) error {
	return restart("ioctl FICLONE", func() error { return unix.IoctlFileClone(int(dst), int(src)) })
}

// CopyFileRange copies up to n bytes at offset off of src to the same offset
// of dst. 0 means the end of src. See copy_file_range(2).
func CopyFileRange(dst, src FD, off int64, n int) (done int, err error) {
	err = restart("copy_file_range", func() (err error) {
		in, out := off, off
		done, err = unix.CopyFileRange(int(src), &in, int(dst), &out, n, 0)
		return err
	})
	return done, err
}

// SeekData returns the start of the first data at or behind off; ENXIO when
// only a hole follows. It moves the file offset of fd. On most file systems it
// waits for a buffered write(2) in progress. See lseek(2).
func SeekData(fd FD, off int64) (int64, error) {
	n, err := unix.Seek(int(fd), off, unix.SEEK_DATA)
	return n, os.NewSyscallError("lseek SEEK_DATA", err)
}

// SeekHole returns the start of the first hole at or behind off; the end of
// the file counts as one. It moves the file offset of fd. See lseek(2).
func SeekHole(fd FD, off int64) (int64, error) {
	n, err := unix.Seek(int(fd), off, unix.SEEK_HOLE)
	return n, os.NewSyscallError("lseek SEEK_HOLE", err)
}

// PunchHole frees n bytes at off, which read as zeros from then on; the size
// stays. See fallocate(2).
func PunchHole(fd FD, off, n int64) error {
	return restart("fallocate", func() error {
		return unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// Pread reads at off. See pread(2).
func Pread(fd FD, p []byte, off int64) (n int, err error) {
	err = restart("pread", func() (err error) {
		n, err = unix.Pread(int(fd), p, off)
		return err
	})
	return n, err
}

// Pwrite writes at off. See pwrite(2).
func Pwrite(fd FD, p []byte, off int64) (n int, err error) {
	err = restart("pwrite", func() (err error) {
		n, err = unix.Pwrite(int(fd), p, off)
		return err
	})
	return n, err
}

// Ftruncate sets the size. See ftruncate(2).
func Ftruncate(fd FD, size int64) error {
	return restart("ftruncate", func() error { return unix.Ftruncate(int(fd), size) })
}

// SyncFileRange writes the dirty pages of fd and waits for them. Pages that
// are mapped writable fault again at their next store. fd may be read-only.
// See sync_file_range(2).
func SyncFileRange(fd FD) error {
	const whole = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return restart("sync_file_range", func() error { return unix.SyncFileRange(int(fd), 0, 0, whole) })
}

// Fdatasync writes the data of fd to its disk. fd may be read-only. See fdatasync(2).
func Fdatasync(fd FD) error {
	return restart("fdatasync", func() error { return unix.Fdatasync(int(fd)) })
}

// SyncFS writes everything dirty of the file system fd lies on. See syncfs(2).
func SyncFS(fd FD) error {
	return restart("syncfs", func() error { return unix.Syncfs(int(fd)) })
}

// Statfs describes the file system of path. See statfs(2).
func Statfs(path string) (FSInfo, error) {
	var st unix.Statfs_t
	err := restart("statfs", func() error { return unix.Statfs(path, &st) })
	block := int64(st.Bsize)
	return FSInfo{
		Magic: uint32(st.Type), Avail: int64(st.Bavail) * block,
		Total: int64(st.Blocks) * block, Used: int64(st.Blocks-st.Bfree) * block,
	}, err
}

// SetTimes sets access and modification time of path itself, also when it is
// a symbolic link. See utimensat(2).
func SetTimes(path string, atime, mtime syscall.Timespec) error {
	ts := []unix.Timespec{unix.Timespec(atime), unix.Timespec(mtime)}
	return restart("utimensat", func() error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// SetXattr sets an attribute of path itself. See lsetxattr(2).
func SetXattr(path string, x Xattr) error {
	return restart("lsetxattr", func() error { return unix.Lsetxattr(path, x.Name, x.Value, 0) })
}

// Xattrs returns the extended attributes of path itself, or with follow those
// of what it leads to; none when its file system has no such attributes.
// See llistxattr(2) and lgetxattr(2).
func Xattrs(path string, follow bool) ([]Xattr, error) {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	var small [512]byte
	names, err := grow(small[:], func(p []byte) (int, error) { return list(path, p) })
	if err == unix.ENOTSUP || err == nil && len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("llistxattr", err)
	}
	var attrs []Xattr
	for start, i := 0, 0; i < len(names); i++ {
		if names[i] != 0 {
			continue
		}
		name := string(names[start:i])
		start = i + 1
		var buf [256]byte
		value, err := grow(buf[:], func(p []byte) (int, error) { return get(path, name, p) })
		if err == unix.ENODATA || err == unix.ENOTSUP {
			continue // removed since it was listed, or a symbolic link took the file's name
		}
		if err != nil {
			return nil, os.NewSyscallError("lgetxattr "+name, err)
		}
		attrs = append(attrs, Xattr{Name: name, Value: append([]byte(nil), value...)})
	}
	return attrs, nil
}

// grow calls read with buf, and with larger ones while it says ERANGE.
func grow(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(buf)
		switch {
		case err == unix.EINTR:
		case err == unix.ERANGE && len(buf) < 1<<20: // XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB
			buf = make([]byte, 4*len(buf))
		case err != nil:
			return nil, err
		default:
			return buf[:n], nil
		}
	}
}
