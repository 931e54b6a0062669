//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// A tree is what Freeze found below one root, directories before what they hold.
type tree []entry

// An entry is one name of a frozen tree.
type entry struct {
	rel string
	ino *inode
}

// Freeze makes the image exact. The caller has stopped every process that may
// write to a source, and lets them go after Freeze returned.
//
// It reads again the files whose size or ctime differ from what the live passes
// saw, those whose ctime is too young to tell, and all that could have changed
// without a sign: the files in writable, which are the paths that a stopped
// process has mapped shared and writable, and files on tmpfs.
//
// deleted is called last, since the caller may have to find out meanwhile, and
// may be nil. It maps a path such as /proc/PID/fd/N of an open file without a name
// to a key of the caller's choice, under which [Tree.Deleted] has the copy.
//
// When ctx's deadline passes it gives up with [ErrBudget]. A file that changes
// all the same is [ErrForeign], and a source that vanished [ErrGone].
func (im *Image) Freeze(ctx context.Context, writable []string, deleted func() map[string]string) error {
	start := time.Now()
	im.stats.Freeze = Pass{}
	im.cur = &im.stats.Freeze
	err := im.freeze(ctx, writable, deleted)
	if err == nil {
		err = fault.ImageFrozen.Hit()
	}
	im.cur.Duration = time.Since(start)
	if err != nil {
		return fmt.Errorf("freeze image: %w", err)
	}
	im.frozen = true
	return nil
}

var errFrozen = errors.New("frozen already")

func (im *Image) freeze(ctx context.Context, writable []string, deleted func() map[string]string) error {
	if im.frozen {
		return errFrozen
	}
	force, err := im.mapped(writable)
	if err != nil {
		return err
	}
	im.pass++
	im.manifest, im.deleted = nil, map[string]*inode{}
	im.stats.Files, im.stats.Bytes, im.stats.Skipped = 0, 0, nil
	for _, root := range im.roots {
		t := make(tree, 0, len(im.inodes)/len(im.roots)+16)
		w := walker{im: im, root: root, visit: func(f *found) error {
			if skipped(&f.fi) {
				im.stats.Skipped = append(im.stats.Skipped, f.path())
				return nil
			}
			ino := im.inode(&f.fi)
			t = append(t, entry{f.rel, ino})
			return im.freezeInode(ctx, f, ino, force)
		}}
		if err := w.run(ctx); err != nil {
			return err
		}
		im.manifest = append(im.manifest, t)
	}
	for _, s := range im.sources {
		if !slices.ContainsFunc(im.manifest[s.root], func(e entry) bool { return e.rel == s.rel }) {
			return fmt.Errorf("source %s: %w", s.given, ErrGone)
		}
	}
	if deleted == nil {
		return checkBudget(ctx)
	}
	for path, key := range deleted() {
		ino, err := im.freezeDeleted(ctx, path)
		if err != nil {
			return fmt.Errorf("deleted file %s: %w", path, err)
		}
		im.deleted[key] = ino
	}
	return checkBudget(ctx)
}

// skipped reports whether no world gets a node like fi: a socket is bound anew
// by its owner, and a device would lead out of the world. The character device
// 0:0 is overlayfs's mark for a removed name, and harmless.
func skipped(fi *sys.FileInfo) bool {
	switch fi.Type() {
	case syscall.S_IFSOCK, syscall.S_IFBLK:
		return true
	case syscall.S_IFCHR:
		return fi.Rdev != 0
	}
	return false
}

func (im *Image) freezeInode(ctx context.Context, f *found, ino *inode, force map[inodeID]bool) error {
	if ino.pass == im.pass {
		return nil // another name of it was met
	}
	ino.pass, ino.fi = im.pass, f.fi
	dev, err := im.device(f)
	if err != nil {
		return err
	}
	if f.fi.Type() == syscall.S_IFREG {
		im.stats.Files++
		im.stats.Bytes += f.fi.Size
	}
	return im.update(ctx, f, ino, dev.memory || force[idOf(&f.fi)])
}

// freezeDeleted copies the file behind path, following the link that path is.
func (im *Image) freezeDeleted(ctx context.Context, path string) (*inode, error) {
	src, err := sys.OpenQuiet(atCWD, path, 0)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f := found{root: path, dir: atCWD, name: path, at: time.Now()}
	if f.fi, err = sys.Fstat(src); err != nil {
		return nil, err
	}
	if f.fi.Type() != syscall.S_IFREG {
		return nil, fmt.Errorf("not a regular file: %w", ErrRefused)
	}
	ino := im.inode(&f.fi)
	if ino.pass == im.pass {
		return ino, nil
	}
	dev := im.devs[f.fi.Dev]
	if dev == nil {
		dev = &device{}
	}
	if ino.xattrs, err = sys.Xattrs(path, true); err != nil {
		return nil, err
	}
	ino.attrs = versionOf(&f.fi, f.at)
	// Always read: an inode number met before may be that of another file.
	if err := im.updateContent(ctx, src, dev, f.fi, ino); err != nil {
		return nil, err
	}
	ino.pass, ino.fi = im.pass, f.fi
	im.stats.Files++
	im.stats.Bytes += f.fi.Size
	return ino, nil
}

// mapped returns the inodes of writable.
func (im *Image) mapped(writable []string) (map[inodeID]bool, error) {
	force := make(map[inodeID]bool, len(writable))
	for _, path := range writable {
		fi, err := sys.Stat(path)
		switch {
		case err == nil:
			force[idOf(&fi)] = true
		case strings.HasSuffix(path, " (deleted)"):
			// Either among the deleted files, or mapped only and no file of ours.
		default:
			for _, root := range im.roots {
				if below(path, root) {
					return nil, fmt.Errorf("mapped file %s: %w", path, err)
				}
			}
		}
	}
	return force, nil
}
