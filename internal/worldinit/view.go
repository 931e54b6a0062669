//go:build linux

package worldinit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A layer is a detached mount, and where in the world it goes.
type layer struct {
	path  string
	mount *os.File
}

// A view is what a world sees of the host's file systems: an overlay over each,
// whose upper layer takes what the world writes.
//
// An overlay does more than a read-only mount. Sockets and fifos that are seen
// through it are objects of the overlay, so that connect(2) and open(2) do not
// reach who listens on the host, now or later; locks and leases stay with the
// world; and a recovery that writes to /etc finds that it can.
//
// The agent makes it: a process in a user namespace may not, where the directory
// below holds other mounts ("failed to clone lowerpath", fs/overlayfs/super.c).
type view struct {
	lender int      // see borrow; 0 when nothing is locked
	layers []layer  // outer ones first
	binds  []layer  // copies of data
	upper  *os.File // the file system of the upper layers
	paths  []string // which file system each of them is of
	// Bare are the mounts that the kernel makes no overlay of. They are
	// read-only, and what is bound there can be connected to.
	bare []string
}

func (v *view) close() {
	for _, l := range append(v.layers, v.binds...) {
		_ = l.mount.Close()
	}
}

// addBinds adds the copies of data, which are writable. The agent takes them,
// since root of a container may have no way through the directories above.
func (v *view) addBinds(binds []Bind) error {
	for _, b := range binds {
		fd, err := unix.OpenTree(unix.AT_FDCWD, b.From, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return &os.PathError{Op: "open_tree", Path: b.From, Err: err}
		}
		v.binds = append(v.binds, layer{b.To, os.NewFile(uintptr(fd), b.From)})
		attr := unix.MountAttr{Attr_set: layerFlags, Attr_clr: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return &os.PathError{Op: "mount_setattr", Path: b.From, Err: err}
		}
	}
	return nil
}

// upperRoot is where the upper layers are mounted while the view is made. It must
// be somewhere; this directory is seen in no layer.
const upperRoot = "/dev"

// newView makes the layers of the world that c describes. Their upper layers are
// memory, at most c.ScratchSize bytes if that is not 0.
func newView(c Config) (v *view, err error) {
	v = &view{lender: c.Lender}
	// Its mounts are seen by this thread only, and end with it, but for those
	// that the view holds.
	thread := osthread.New()
	defer thread.Close()
	err = thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		mounts, err := visibleMounts()
		if err != nil {
			return err
		}
		if err := c.tmpfs(upperRoot, "mode=755"); err != nil {
			return fmt.Errorf("make the upper layers: %w", err)
		}
		if v.upper, err = os.Open(upperRoot); err != nil {
			return err
		}
		v.paths = mounts
		for i, path := range mounts {
			if err := v.add(path, upperOf(i)); err != nil {
				return fmt.Errorf("layer over %s: %w", path, err)
			}
		}
		if err := v.addKernelViews(); err != nil || c.Within == 0 {
			return err
		}
		return v.join()
	})
	if err != nil {
		v.close()
		_ = v.upper.Close() // nil before it is there, which Close takes
		return nil, err
	}
	return v, nil
}

func (v *view) add(path, upper string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // unmounted meanwhile
	}
	if err != nil {
		return err
	}
	var fd sys.FD
	if !fi.IsDir() {
		fd, err = sys.CloneMount(path, 0)
	} else if fd, err = v.overlay(path, upper); err != nil && path != "/" {
		v.bare = append(v.bare, path)
		fd, err = v.clone(path, 0)
	}
	if err != nil {
		return err
	}
	v.layers = append(v.layers, layer{path, os.NewFile(uintptr(fd), path)})
	return nil
}

// join makes all layers one: root of a container may have no way through the
// directories in which some of them are.
func (v *view) join() error {
	root := upperRoot + "/root"
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	for _, l := range v.layers {
		if err := attach(l.mount, root+l.path); err != nil {
			return fmt.Errorf("layer %s: %w", l.path, err)
		}
		_ = l.mount.Close()
	}
	v.layers = nil
	fd, err := unix.OpenTree(unix.AT_FDCWD, root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	v.layers = []layer{{"/", os.NewFile(uintptr(fd), "/")}}
	return nil
}

// overlay makes one over the directory path.
func (v *view) overlay(path, upper string) (sys.FD, error) {
	if err := os.Mkdir(upper, 0o700); err != nil {
		return -1, err
	}
	fd, err := v.borrow(path)
	if err != nil {
		return overlayOf(path, upper)
	}
	// The kernel takes a directory of this namespace only.
	mount, lower := os.NewFile(uintptr(fd), path), upper+"/l"
	defer mount.Close()
	if err := os.Mkdir(lower, 0o700); err != nil {
		return -1, err
	}
	if err := attach(mount, lower); err != nil {
		return -1, err
	}
	return overlayOf(lower, upper)
}

// clone makes a detached copy of the mount at path.
func (v *view) clone(path string, flags uint) (sys.FD, error) {
	if flags&unix.AT_RECURSIVE == 0 {
		if fd, err := v.borrow(path); err == nil {
			return sys.FreezeMount(fd)
		}
	}
	return sys.CloneMount(path, flags)
}

// addKernelViews adds where programs look for devices, processors and the
// limits of their control group. Other file systems below /sys stay out: to read
// a trace consumes it.
func (v *view) addKernelViews() error {
	for _, m := range []struct {
		path  string
		flags uint
	}{{"/sys", 0}, {"/sys/fs/cgroup", unix.AT_RECURSIVE}} {
		if fi, err := os.Stat(m.path); err != nil || !fi.IsDir() {
			continue
		}
		fd, err := v.clone(m.path, m.flags)
		if err != nil {
			return fmt.Errorf("layer over %s: %w", m.path, err)
		}
		v.layers = append(v.layers, layer{m.path, os.NewFile(uintptr(fd), m.path)})
	}
	return nil
}

// layerFlags of every layer that can be written to: nothing becomes another
// user, no device is opened.
const layerFlags = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// overlayOf makes a detached overlay over the directory path, with its upper
// layer below upper.
func overlayOf(path, upper string) (sys.FD, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return -1, os.NewSyscallError("stat", err)
	}
	top, work := upper+"/u", upper+"/w"
	for _, d := range []string{top, work} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return -1, err
		}
	}
	// The merged root directory has the attributes of the upper one.
	if err := unix.Chown(top, int(st.Uid), int(st.Gid)); err != nil {
		return -1, os.NewSyscallError("chown", err)
	}
	if err := unix.Chmod(top, st.Mode&0o7777); err != nil {
		return -1, os.NewSyscallError("chmod", err)
	}
	// By descriptor, since colons and commas have a meaning in the option.
	lower, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open", err)
	}
	defer unix.Close(lower)
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fsfd)
	for _, option := range [][2]string{
		{"source", "world"},
		{"lowerdir", fmt.Sprintf("/proc/thread-self/fd/%d", lower)},
		{"upperdir", top}, {"workdir", work},
	} {
		if err := unix.FsconfigSetString(fsfd, option[0], option[1]); err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", option[0], err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, layerFlags)
	return sys.FD(fd), os.NewSyscallError("fsmount", err)
}

// kernelMade are the file systems that show the kernel and no files. The world
// has its own of those that it needs.
var kernelMade = map[string]bool{
	"proc": true, "sysfs": true, "devtmpfs": true, "devpts": true, "cgroup": true, "cgroup2": true,
	"securityfs": true, "debugfs": true, "tracefs": true, "bpf": true, "mqueue": true, "hugetlbfs": true,
	"configfs": true, "pstore": true, "efivarfs": true, "fusectl": true, "binfmt_misc": true, "autofs": true,
	"rpc_pipefs": true, "nsfs": true, "selinuxfs": true, "resctrl": true,
}

// visibleMounts lists where file systems are mounted that the world is to see,
// outer ones first.
func visibleMounts() (paths []string, err error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts, err := procfs.ParseMountinfo(text)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if kernelMade[m.FSType] || covered(m.Point) {
			continue
		}
		var st unix.Statx_t
		// Of mounts on one place, or below one that was mounted later, the
		// last is what a path leads to.
		err := unix.Statx(unix.AT_FDCWD, m.Point, unix.AT_NO_AUTOMOUNT|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st)
		if err != nil || st.Mask&unix.STATX_MNT_ID != 0 && st.Mnt_id != uint64(m.ID) {
			continue
		}
		paths = append(paths, m.Point)
	}
	return sortedByDepth(paths), nil
}

// covered tells places that the world has a file system of its own over.
func covered(path string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/var/run"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// sortedByDepth puts paths above others before them.
func sortedByDepth(paths []string) []string {
	slices.SortStableFunc(paths, func(a, b string) int {
		return cmp.Compare(strings.Count(strings.TrimSuffix(a, "/"), "/"), strings.Count(strings.TrimSuffix(b, "/"), "/"))
	})
	return paths
}
