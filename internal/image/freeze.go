//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// A tree is what was found in one area, or below one root, directories before
// what they hold.
type tree []entry

// An entry is one name of a frozen tree.
type entry struct {
	rel string // below the root
	ino *inode
}

// Freeze makes the image exact. The caller has stopped every process that may
// write to a source, and lets them go after Freeze returned.
//
// It reads again the files whose size or ctime differ from what the live passes
// saw, those whose ctime is too young to tell, and all that could have changed
// without a sign: files on tmpfs, and those in writable, which a stopped process has
// mapped shared and writable. It may have several paths of a file, such as
// /proc/PID/map_files/..., and of some that are no more.
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
	im.doubt()
	im.deleted = map[string]*inode{}
	im.stats.Files, im.stats.Bytes, im.stats.Skipped = 0, 0, nil
	for _, s := range im.sources {
		if _, err := os.Lstat(s.path); err != nil {
			return fmt.Errorf("source %s: %w", s.given, ErrGone)
		}
	}
	p := im.newPool(ctx)
	err = im.freezeAreas(ctx, force, p)
	if werr := p.wait(); err == nil || errors.Is(err, errOther) {
		err = werr
	}
	if err != nil || deleted == nil {
		return errors.Join(err, checkBudget(ctx))
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

func (im *Image) freezeAreas(ctx context.Context, force map[inodeID]bool, p *pool) error {
	for _, a := range im.areas {
		if err := checkBudget(ctx); err != nil {
			return err
		}
		if a.snaps != nil {
			if err := im.freezeSnapshot(a); err != nil {
				return err
			}
			continue
		}
		t := make(tree, 0, len(a.tree)+len(im.inodes)/len(im.areas)+16)
		w := walker{im: im, root: im.roots[a.root], rel: a.rel, skip: im.inner(a), threads: workers(), visit: func(f *found) error {
			if f.rel == a.rel && f.fi.Dev != a.dev {
				return fmt.Errorf("another file system is mounted there now: %w", ErrGone)
			}
			if skipped(&f.fi) {
				im.stats.Skipped = append(im.stats.Skipped, f.path())
				return nil
			}
			ino := im.inode(&f.fi)
			t = append(t, entry{f.rel, ino})
			return im.freezeInode(ctx, f, ino, force, p)
		}}
		if err := w.run(ctx); err != nil {
			return err
		}
		a.tree = t
	}
	return nil
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

func (im *Image) freezeInode(ctx context.Context, f *found, ino *inode, force map[inodeID]bool, p *pool) error {
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
	src, err := im.changed(f, ino, dev.memory || force[idOf(&f.fi)])
	if src < 0 || err != nil {
		return err
	}
	return p.do(job{path: f.path(), src: src, dev: dev, fi: f.fi, ino: ino})
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
		dev = &device{store: im.stores[0]}
	}
	if ino.xattrs, err = sys.Xattrs(path, true); err != nil {
		return nil, err
	}
	ino.attrs = versionOf(&f.fi, f.at)
	// Always read: an inode number met before may be that of another file.
	if err := im.worker(ctx).content(src, dev, f.fi, ino); err != nil {
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
		case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EPERM):
			// Renamed, removed, unmapped since the caller looked, which its other
			// path or ctime tell of; or we may not look at maps.
		default:
			return nil, fmt.Errorf("mapped file %s: %w", path, err)
		}
	}
	return force, nil
}
