//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// A Tree is one writable copy of a frozen image.
type Tree struct {
	Roots []Root // one per source, in the order given to [Prepare]
	// Deleted has the path of the copy of each unlinked file by the caller's
	// key. Keys of one file share a path, which is that of another name in the
	// tree if the file had one, else out of the world's sight.
	Deleted map[string]string
	// Outer lists directories of it that lie elsewhere, where blocks can be
	// shared. They end with the image.
	Outer []string
	// Lost names attributes that the file system of the copy cannot hold.
	Lost []string

	outer  []string          // all that Forget erases beside its directory
	tops   []string          // copies of im.roots
	made   []map[string]seal // per root, by entry.rel
	memory bool
}

// A Root pairs a source with its copy.
type Root struct{ Source, Path string }

// A seal is what a file of a world looked like when it was handed out.
type seal struct {
	ino   uint64
	size  int64
	ctime syscall.Timespec
}

func sealOf(fi *sys.FileInfo) seal { return seal{fi.Ino, fi.Size, fi.Ctime} }

// tick is longer than the grain of timestamps on kernels before 6.13.
const tick = 20 * time.Millisecond

// World makes an independent writable copy of the frozen image in dir, which
// must be empty or absent and outside of the sources. When it fails nothing is
// left in dir.
func (im *Image) World(ctx context.Context, dir string) (*Tree, error) {
	if !im.frozen {
		return nil, errors.New("make world: the image is not frozen")
	}
	if err := im.complete(ctx); err != nil {
		return nil, fmt.Errorf("make world: %w", err)
	}
	dir, err := emptyDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make world: %w", err)
	}
	b := builder{im: im, ctx: ctx, dir: dir, names: map[*inode]string{}, tree: &Tree{Deleted: map[string]string{}},
		copier: copier{ctx: ctx, buf: newBuffers(), pass: &Pass{}}, unshared: map[way]bool{}, untouched: map[*inode]bool{}}
	if err := b.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("make world: %w", err), erase(dir), b.erase())
	}
	im.mu.Lock()
	im.outer = append(im.outer, b.outer...)
	im.mu.Unlock()
	b.tree.outer = b.outer
	for _, dir := range b.outer {
		if !below(dir, b.dir) {
			b.tree.Outer = append(b.tree.Outer, dir)
		}
	}
	return b.tree, nil
}

// Forget deletes what a world that nobody uses any more has outside of its
// directory, before the image does. What is in the directory is the caller's.
func (im *Image) Forget(t *Tree) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	var errs []error
	for _, path := range t.outer {
		if err := erase(path); err != nil {
			errs = append(errs, err) // Remove tries again
			continue
		}
		im.outer = slices.DeleteFunc(im.outer, func(other string) bool { return other == path })
	}
	return errors.Join(errs...)
}

// dropUnused removes the copies of files that were gone when the image froze,
// and those that were replaced.
func (im *Image) dropUnused() {
	for id, ino := range im.inodes {
		for _, object := range ino.outdated {
			ino.store.drop(object)
		}
		ino.outdated = nil
		if ino.pass == im.pass {
			continue
		}
		if ino.store != nil {
			ino.store.drop(ino.object)
		}
		delete(im.inodes, id)
	}
}

// Room returns [ErrSpace], with the numbers, when there is no room for so many
// worlds on the file system of the image. The image need not be frozen yet.
func (im *Image) Room(_ context.Context, worlds int) error {
	if _, err := checkSpace(im.dir, needed(int64(worlds)*im.copied())); err != nil {
		return fmt.Errorf("room for %d worlds: %w", worlds, err)
	}
	return nil
}

// copied is what a world takes in its directory: the blocks of all objects but
// those that can be shared where the worlds are.
func (im *Image) copied() (total int64) {
	for _, ino := range im.inodes {
		if ino.store == nil || ino.store.dir != "" && (ino.store != im.stores[0] || im.sharesHome()) {
			continue
		}
		total += 512 * ino.fi.Blocks
	}
	return total
}

// sharesHome reports whether files in the image's directory can share blocks.
func (im *Image) sharesHome() bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.home == nil {
		probe, err := sys.OpenUnnamed(im.dir)
		if err == nil {
			if _, err = sys.Pwrite(probe, make([]byte, 4096), 0); err == nil {
				err = shares(im.dir, probe)
			}
			_ = probe.Close()
		}
		can := err == nil
		im.home = &can
	}
	return *im.home
}
