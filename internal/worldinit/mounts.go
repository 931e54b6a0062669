//go:build linux

package worldinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the nodes of the world's /dev. All others of the host are hidden.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// stage is where the world's root is put together before it becomes the root.
const stage = "/dev"

// build puts the layers together, with an own /proc, /dev and /run, and the
// copies of the data on top; then the network.
func build(c Config, layers, binds []layer) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// What is needed of the old root is opened first: it is covered next.
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}()
	open := func(path string) (*os.File, error) {
		f, err := os.OpenFile(path, unix.O_PATH, 0)
		if err == nil {
			opened = append(opened, f)
		}
		return f, err
	}
	nodes := make([]*os.File, len(devices))
	for i, name := range devices {
		var err error
		if nodes[i], err = open("/dev/" + name); err != nil {
			return err
		}
	}
	for _, l := range layers {
		if err := attach(l.mount, stage+l.path); err != nil {
			return fmt.Errorf("layer %s: %w", l.path, err)
		}
	}
	if err := c.buildDev(nodes); err != nil {
		return fmt.Errorf("build /dev: %w", err)
	}
	if err := c.buildRun(); err != nil {
		return err
	}
	for _, b := range binds {
		if err := bind(b.mount, b.path); err != nil {
			return fmt.Errorf("bind %s: %w", b.path, err)
		}
	}
	if err := buildProc(); err != nil {
		return fmt.Errorf("build /proc: %w", err)
	}
	if err := enterStage(); err != nil {
		return err
	}
	if err := ownInput(); err != nil {
		return err
	}
	return buildNet(c.Addresses)
}

// attach puts a detached mount on path.
func attach(mount *os.File, path string) error {
	return os.NewSyscallError("move_mount", unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// enterStage makes the stage the root, and lets go of the host's mounts.
func enterStage() error {
	if err := os.Chdir(stage); err != nil {
		return err
	}
	// The old root comes to lie over the new one, pivot_root(2), "pivot_root(".", ".")".
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the host's mounts: %w", err)
	}
	return os.Chdir("/")
}

// ownInput replaces our stdin by the world's /dev/null. All commands have it:
// by the one that we came with they could change the host's.
func ownInput() error {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("dup3", unix.Dup3(fd, 0, 0))
}

// bind puts a detached mount of a file or directory on path of the world. The
// mount point may be missing, where a private directory covers it. Symbolic links
// on the way are the world's.
func bind(mount *os.File, path string) error {
	point, err := mountPoint(mount, path)
	if err != nil {
		return err
	}
	defer unix.Close(point)
	err = unix.MoveMount(int(mount.Fd()), "", point, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return os.NewSyscallError("move_mount", err)
}

// mountPoint opens path as the world will see it, and makes it if it is missing.
func mountPoint(f *os.File, path string) (fd int, err error) {
	fi, err := f.Stat()
	if err != nil {
		return -1, err
	}
	open := func() (int, error) {
		root, err := unix.Open(stage, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, os.NewSyscallError("open", err)
		}
		defer unix.Close(root)
		fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		return fd, os.NewSyscallError("openat2", err)
	}
	if fd, err = open(); !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	if err := os.MkdirAll(filepath.Dir(stage+path), 0o755); err != nil {
		return -1, err
	}
	if fi.IsDir() {
		err = os.Mkdir(stage+path, 0o755)
	} else {
		err = os.WriteFile(stage+path, nil, 0o600)
	}
	if err != nil {
		return -1, err
	}
	return open()
}

// bindReadOnly is bind for what may be used but not changed. Devices can be
// written to through it, their modes and owners not be changed.
func bindReadOnly(f *os.File, path string) error {
	fd, err := unix.OpenTree(int(f.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	mount := os.NewFile(uintptr(fd), path)
	defer mount.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	return attach(mount, path)
}

// tmpfs mounts an empty file system of the world's own, of bounded size.
func (c Config) tmpfs(dir string, mode string) error {
	if c.ScratchSize > 0 {
		mode += fmt.Sprintf(",size=%d", c.ScratchSize)
	}
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, mode)
}

// buildDev makes a minimal /dev.
func (c Config) buildDev(nodes []*os.File) error {
	const dev = stage + "/dev"
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"); err != nil {
		return err
	}
	for i, name := range devices {
		path := filepath.Join(dev, name)
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
		if err := bindReadOnly(nodes[i], path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := os.WriteFile(stage+markerPath, []byte(c.Label+"\n"), 0o444); err != nil {
		return err
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := os.Mkdir(filepath.Join(dev, dir), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("pts: %w", err)
	}
	if err := c.tmpfs(dev+"/shm", "mode=1777"); err != nil {
		return fmt.Errorf("shm: %w", err)
	}
	if err := unix.Mount("mqueue", dev+"/mqueue", "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("mqueue: %w", err)
	}
	for link, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}

// buildRun gives the world an empty /run: the host's holds the sockets and the
// state of running programs.
func (c Config) buildRun() error {
	for _, dir := range []string{"/run", "/var/run"} {
		if fi, err := os.Lstat(stage + dir); err != nil || !fi.IsDir() {
			continue // often a symbolic link to the other
		}
		if err := c.tmpfs(stage+dir, "mode=755"); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	return nil
}

// buildProc mounts the world's /proc. What is not of a process in there is of
// the host's kernel, root of the host may write to much of it without any
// capability, and root of the world is that same user. So it is read-only.
func buildProc() error {
	const proc = stage + "/proc"
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := forbidNamespaces(proc); err != nil {
		return err
	}
	return protectProc(proc)
}

func protectProc(proc string) error {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 || e.Name()[0] >= '0' && e.Name()[0] <= '9' {
			continue
		}
		f, err := os.OpenFile(filepath.Join(proc, e.Name()), unix.O_PATH, 0)
		if err != nil {
			return err
		}
		err = bindReadOnly(f, f.Name())
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", e.Name(), err)
		}
	}
	return nil
}

// replaceProc puts another procfs on /proc, that of other process numbers.
func replaceProc(mount *os.File) error {
	const proc = "/proc"
	if err := unix.Unmount(proc, unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	if err := attach(mount, proc); err != nil {
		return err
	}
	return protectProc(proc)
}

// forbidNamespaces lets nothing in the world make a user namespace of its own,
// in which it would have every capability. See user(5) of namespaces(7):
// /proc/sys/user/max_user_namespaces is a limit of the reader's user namespace.
func forbidNamespaces(proc string) error {
	return os.WriteFile(filepath.Join(proc, "sys/user/max_user_namespaces"), []byte("0"), 0)
}
