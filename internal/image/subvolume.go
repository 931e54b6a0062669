//go:build linux

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
)

// Inode numbers of btrfs, include/uapi/linux/btrfs_tree.h.
const (
	subvolumeIno = 256 // BTRFS_FIRST_FREE_OBJECTID: the top of a subvolume
	nestedIno    = 2   // BTRFS_EMPTY_SUBVOL_DIR_OBJECTID: where a snapshot leaves one out
)

// isSubvolume reports whether path is the top of a btrfs subvolume.
func isSubvolume(path string) bool {
	var st syscall.Stat_t
	if syscall.Lstat(path, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFDIR || st.Ino != subvolumeIno {
		return false
	}
	info, err := sys.Statfs(path)
	return err == nil && info.Magic == magicBtrfs
}

// snapshot makes target, which must not exist, a snapshot of subvolume source.
func snapshot(source, target string, readOnly bool) error {
	src, err := sys.OpenAt(atCWD, source, syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dir, err := sys.OpenAt(atCWD, filepath.Dir(target), syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return sys.SnapshotSubvolume(src, dir, filepath.Base(target), readOnly)
}

// erase removes path and all below it, subvolumes too, which os.RemoveAll would
// empty file by file, or not at all when they are read-only. Nothing at path is
// no error.
func erase(path string) error {
	info, err := sys.Statfs(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("erase %s: %w", path, err)
	}
	if info.Magic == magicBtrfs {
		if err := eraseSubvolumes(path); err != nil {
			return fmt.Errorf("erase %s: %w", path, err)
		}
	}
	return os.RemoveAll(path)
}

// eraseSubvolumes destroys path if it is a subvolume, else those below it.
func eraseSubvolumes(path string) error {
	if isSubvolume(path) {
		err := destroy(path)
		if !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		// One is nested in it.
	}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := eraseSubvolumes(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if isSubvolume(path) {
		return destroy(path)
	}
	return nil
}

func destroy(path string) error {
	dir, err := sys.OpenAt(atCWD, filepath.Dir(path), syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return sys.DestroySubvolume(dir, filepath.Base(path))
}
