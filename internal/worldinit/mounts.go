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

// hidden are directories of the host that hold sockets and state of running
// programs. The world has them empty and writable.
var hidden = []string{"/run", "/var/run"}

// scratch are directories where commands expect to write. The world sees the
// host's files there; what it writes stays with it.
var scratch = []string{"/tmp", "/var/tmp"}

// build makes the world's view: everything read-only, private scratch, an own
// /proc and /dev, and the copies of the data on top; then the network.
func build(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := buildDev(c); err != nil {
		return fmt.Errorf("build /dev: %w", err)
	}
	// The copies are opened first: they may lie below what is covered next.
	sources := make([]*os.File, len(c.Binds))
	for i, b := range c.Binds {
		f, err := os.OpenFile(b.From, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		sources[i] = f
	}
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &ro); err != nil {
		return fmt.Errorf("make the file system read-only: %w", err)
	}
	if err := writable("/dev"); err != nil {
		return err
	}
	for i, dir := range scratch {
		if err := c.overlay(i, dir); err != nil {
			return fmt.Errorf("private view of %s: %w", dir, err)
		}
	}
	for _, dir := range hidden {
		if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() {
			continue // often a symbolic link to the other
		}
		if err := c.tmpfs(dir, unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	for _, path := range c.Masked {
		if err := mask(path); err != nil {
			return fmt.Errorf("mask %s: %w", path, err)
		}
	}
	for i, b := range c.Binds {
		if err := bind(sources[i], b.To); err != nil {
			return fmt.Errorf("bind %s: %w", b.To, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return buildNet(c.Addresses)
}

// bind mounts the file or directory behind f on path, writable. The mount point
// may be missing where a scratch or hidden directory covers it.
func bind(f *os.File, path string) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if fi.IsDir() {
			err = os.Mkdir(path, 0o755)
		} else {
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return writable(path)
}

// mask puts /dev/null over a unix socket. Where it is gone, or covered by a
// private directory already, there is nothing to do: a socket that is seen
// through an overlay is not the one that somebody listens on.
func mask(path string) error {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&fs.ModeSocket == 0 {
		return nil
	}
	return unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
}

func writable(path string) error {
	rw := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	return os.NewSyscallError("mount_setattr", unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &rw))
}

// tmpfs mounts an empty file system of the world's own, of bounded size.
func (c Config) tmpfs(dir string, flags uintptr, mode string) error {
	if c.ScratchSize > 0 {
		mode += fmt.Sprintf(",size=%d", c.ScratchSize)
	}
	return unix.Mount("tmpfs", dir, "tmpfs", flags, mode)
}

// buildDev covers /dev with a minimal one.
func buildDev(c Config) error {
	nodes := make([]*os.File, len(devices))
	for i, name := range devices {
		f, err := os.OpenFile("/dev/"+name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		nodes[i] = f
	}
	if err := c.tmpfs("/dev", unix.MS_NOSUID, "mode=755"); err != nil {
		return err
	}
	for i, name := range devices {
		path := "/dev/" + name
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", nodes[i].Fd()), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, dir := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue", worldDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("/dev/pts: %w", err)
	}
	if err := c.tmpfs("/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("/dev/shm: %w", err)
	}
	for link, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, "/dev/"+link); err != nil {
			return err
		}
	}
	return nil
}

// worldDir holds the upper layers of the scratch directories.
const worldDir = "/dev/.world"

// overlay gives the world its own layer above dir.
func (c Config) overlay(i int, dir string) error {
	if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() {
		return nil
	}
	upper, work := fmt.Sprintf("%s/upper%d", worldDir, i), fmt.Sprintf("%s/work%d", worldDir, i)
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(upper, 0o1777); err != nil {
		return err
	}
	err := unix.Mount("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV,
		fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,userxattr", dir, upper, work))
	if errors.Is(err, unix.EINVAL) {
		// The directory holds mount points, which a user namespace may not
		// uncover: "failed to clone lowerpath".
		return c.assemble(dir)
	}
	return err
}

// assemble covers dir with a new writable directory in which every entry of the
// old one is bound, read-only as it is.
func (c Config) assemble(dir string) error {
	old, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	entries, err := old.ReadDir(-1)
	if err != nil {
		return err
	}
	if err := c.tmpfs(dir, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return err
	}
	for _, e := range entries {
		from := fmt.Sprintf("/proc/self/fd/%d/%s", old.Fd(), e.Name())
		to := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = os.Mkdir(to, 0o755)
		case e.Type().IsRegular():
			err = os.WriteFile(to, nil, 0o600)
		default:
			continue // sockets and pipes of the host stay out
		}
		if err == nil {
			err = unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	return nil
}
