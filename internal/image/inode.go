//go:build linux

package image

import (
	"fmt"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/pagetrack"
	"github.com/pilotexec/pilot/internal/sys"
)

// atCWD is AT_FDCWD, include/uapi/linux/fcntl.h.
const atCWD = sys.FD(-100)

// racyWindow is how much older than our look at it a ctime must be before an
// equal ctime later means an equal file. Kernels before 6.13, and file systems
// without multigrain timestamps, advance ctime only every jiffy (up to 10 ms);
// and write(2) sets ctime before it copies the bytes, so that a look may fall
// in between. 100 ms covers both but for direct I/O slower than that.
const racyWindow = 100 * time.Millisecond

type inodeID struct{ dev, ino uint64 }

func idOf(fi *sys.FileInfo) inodeID { return inodeID{fi.Dev, fi.Ino} }

// A version says when something was read of an inode, and what it was then.
type version struct {
	valid bool
	size  int64
	ctime syscall.Timespec
	at    int64 // nanoseconds since the epoch, taken before the stat
}

func versionOf(fi *sys.FileInfo, at time.Time) version {
	return version{valid: true, size: fi.Size, ctime: fi.Ctime, at: at.UnixNano()}
}

// holds reports whether an inode that now looks like fi is still in version v.
func (v *version) holds(fi *sys.FileInfo) bool {
	return v.valid && v.size == fi.Size && v.ctime == fi.Ctime &&
		syscall.TimespecToNsec(v.ctime)+int64(racyWindow) < v.at
}

// An inode is what the image knows of one inode of the sources. It survives
// the passes, whatever names the inode has in them.
type inode struct {
	pass int          // the last pass that met it
	fi   sys.FileInfo // what that pass saw

	attrs  version // of target and xattrs
	target string  // of a symbolic link
	xattrs []sys.Xattr

	list listing // of a directory

	content  version  // of object
	object   string   // path of the copy of its bytes, empty when there is none
	store    *store   // of object; nil when it lies in a snapshot
	outdated []string // objects that were replaced
	// unshared is set when sharing its blocks failed, though its file system can.
	unshared bool
	// sharing is how long the last sharing of its blocks took.
	sharing time.Duration

	// track tells which pages changed, nil when nothing does, and since is the age
	// in which they were all read; 0 when they were not.
	track *pagetrack.File
	since pagetrack.Age
}

// inode returns the record of the inode that looks like fi.
func (im *Image) inode(fi *sys.FileInfo) *inode {
	id := idOf(fi)
	ino := im.inodes[id]
	if ino == nil {
		ino = &inode{}
		im.inodes[id] = ino
	}
	return ino
}

// A device is a file system, or a subvolume, that a source lies on.
type device struct {
	name string
	// memory is set for file systems whose ctime does not move when mapped
	// pages are stored to, because they never write pages back.
	memory bool
	// overlay is set where sync_file_range does nothing: the pages belong to
	// the file below.
	overlay bool
	btrfs   bool
	// store holds its copies. share is set when they can share blocks with it,
	// else why says why not.
	store *store
	share bool
	why   string
	// untracked says why its pages cannot be tracked. Empty when they can.
	untracked string
}

// f_type of statfs(2), include/uapi/linux/magic.h.
const (
	magicTmpfs     = 0x01021994
	magicRamfs     = 0x858458f6
	magicHugetlbfs = 0x958458f6
	magicOverlay   = 0x794c7630
	magicBtrfs     = 0x9123683e
)

// remote lists file systems whose writers may sit on other hosts, or where a
// daemon decides what stat(2) says.
var remote = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x00c36400: "Ceph",
	0x65735546: "FUSE",
	0x01021997: "9p",
	0x5346414f: "AFS",
	0x0bd00bd0: "Lustre",
	0x7461636f: "OCFS2",
	0x01161970: "GFS2",
}

// local names the usual ones.
var local = map[uint32]string{
	0xef53: "ext4", 0x58465342: "XFS", magicBtrfs: "btrfs", magicTmpfs: "tmpfs", magicRamfs: "ramfs",
	magicHugetlbfs: "hugetlbfs", magicOverlay: "overlayfs", 0x2fc12fc1: "ZFS", 0xca451a4e: "bcachefs", 0xf2f52010: "F2FS",
}

func isMemory(magic uint32) bool {
	return magic == magicTmpfs || magic == magicRamfs || magic == magicHugetlbfs
}

// device returns what is known of the file system of f.
func (im *Image) device(f *found) (*device, error) {
	if d := im.devs[f.fi.Dev]; d != nil {
		return d, nil
	}
	// A file of an overlay may carry the device number of the file system
	// below, while statfs names the overlay, which is the careful choice.
	path := f.procPath()
	if f.fi.Type() == syscall.S_IFLNK {
		path = fmt.Sprintf("/proc/self/fd/%d", f.dir)
	}
	info, err := sys.Statfs(path)
	if err != nil {
		return nil, err
	}
	if name := remote[info.Magic]; name != "" {
		return nil, fmt.Errorf("%s is a network or user-space file system, whose writers cannot all be stopped: %w", name, ErrRefused)
	}
	d := &device{untracked: "not needed", memory: isMemory(info.Magic), overlay: info.Magic == magicOverlay, btrfs: info.Magic == magicBtrfs, store: im.stores[0]}
	if d.name = local[info.Magic]; d.name == "" {
		d.name = fmt.Sprintf("file system %#x", info.Magic)
	}
	im.devs[f.fi.Dev] = d
	if im.frozenPass() {
		d.why = "it was mounted since the image was prepared"
		return d, nil
	}
	if d.memory {
		d.why = "no reflink: it is in memory"
		return d, nil
	}
	dir := procFile(f.dir)
	if f.fi.Type() == syscall.S_IFDIR {
		dir = f.procPath()
	}
	s, why, err := im.sharing(dir, f.root)
	if err != nil {
		return nil, err
	}
	if d.why = why; s != nil {
		d.store, d.share = s, true
	} else {
		d.untracked = pagetrack.Device(info.Magic, f.fi.Dev)
	}
	return d, nil
}
