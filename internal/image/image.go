//go:build linux

// Package image takes point-in-time copies of live directories and files.
//
// An [Image] is made in two passes. [Prepare] and [Image.Settle] copy while
// production runs; what they see is fuzzy. [Image.Freeze] runs while every
// writer is stopped: it walks the sources once more and redoes what changed.
// [Image.World] then makes writable copies, as many as wanted, long after
// production went on, and [Image.Diff] tells what became of one.
//
// The image is a store of file contents by inode, plus a manifest in memory of
// names and attributes that Freeze takes. So a rename costs nothing, and hard
// links need no care.
//
// The package never writes to a source: sources are opened read-only, without
// following links and with O_NOATIME where that is permitted. Dirty pages of a
// source are written to its disk early, as the kernel would have done later.
//
// The methods of an Image must not be called at the same time as each other,
// except World and Diff after a successful Freeze.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

var (
	// ErrBudget means that the deadline passed before the image was exact. The
	// image is as good as before, so Settle and Freeze may be tried again.
	ErrBudget = errors.New("budget exceeded")
	// ErrGone means that a source does not exist (any more).
	ErrGone = errors.New("source does not exist")
	// ErrSpace means that the file system of the copy is too small.
	ErrSpace = errors.New("not enough free space")
	// ErrForeign means that a file changed although its writers were stopped.
	ErrForeign = errors.New("written by a process that was not stopped")
	// ErrRefused means that a source is of a sort that has no point in time.
	ErrRefused = errors.New("refused")
)

// A source is one path that the caller asked for.
type source struct {
	given string
	path  string // absolute, without symbolic links
	root  int    // index of the root that holds it
	rel   string // its path below that root, or empty
}

// An Image is a copy of sources at one moment.
type Image struct {
	dir     string
	self    inodeID // of dir
	sources []source
	roots   []string // paths of the sources that lie in no other one

	inodes map[inodeID]*inode
	devs   map[uint64]*device
	pass   int
	count  int // objects made
	buf    *buffers
	stats  Stats
	cur    *Pass // the pass under way

	frozen   bool
	manifest []tree            // one per root
	deleted  map[string]*inode // by the caller's key
	prune    sync.Once
}

// Prepare copies every tree or file of sources to dir while production runs.
// dir must be empty or absent, and outside of the sources. When Prepare fails
// nothing is left in dir.
func Prepare(ctx context.Context, dir string, sources []string) (*Image, error) {
	start := time.Now()
	dir, err := emptyDir(dir)
	if err != nil {
		return nil, fmt.Errorf("prepare image: %w", err)
	}
	im := &Image{dir: dir, inodes: map[inodeID]*inode{}, devs: map[uint64]*device{}, buf: newBuffers()}
	im.cur = &im.stats.Prepare
	if err := im.prepare(ctx, sources); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare image: %w", err), im.Remove())
	}
	im.stats.Prepare.Duration = time.Since(start)
	return im, nil
}

func (im *Image) prepare(ctx context.Context, sources []string) error {
	if err := im.resolve(sources); err != nil {
		return err
	}
	fi, err := sys.Stat(im.dir)
	if err != nil {
		return err
	}
	im.self = idOf(&fi)
	need, err := im.estimate(ctx)
	if err != nil {
		return err
	}
	im.stats.Need = need
	if im.stats.Free, err = checkSpace(im.dir, need); err != nil {
		return err
	}
	if err := im.live(ctx); err != nil {
		return err
	}
	return fault.ImageCopied.Hit()
}

// Settle makes a live round: it copies again what changed since the last pass
// and writes the copy to its disk, so that Freeze finds little to do and is not
// slowed by the kernel's limit on dirty pages. Call it right before the pause;
// several calls help when much is written.
func (im *Image) Settle(ctx context.Context) error {
	if im.frozen {
		return fmt.Errorf("settle image: %w", errFrozen)
	}
	start := time.Now()
	im.cur = &im.stats.Settle
	err := im.live(ctx)
	if err == nil {
		err = im.writeBack()
	}
	if err == nil {
		err = fault.ImageSettled.Hit()
	}
	im.cur.Duration += time.Since(start)
	if err != nil {
		return fmt.Errorf("settle image: %w", err)
	}
	return nil
}

// live updates every object from the running sources.
func (im *Image) live(ctx context.Context) error {
	im.pass++
	for _, root := range im.roots {
		w := walker{im: im, root: root, live: true, visit: func(f *found) error {
			ino := im.inode(&f.fi)
			if ino.pass == im.pass {
				return nil
			}
			ino.pass, ino.fi = im.pass, f.fi
			return im.update(ctx, f, ino, false)
		}}
		if err := w.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes the image. Its worlds stay.
func (im *Image) Remove() error {
	if err := os.RemoveAll(im.dir); err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	return nil
}

// resolve fills im.sources and im.roots.
func (im *Image) resolve(given []string) error {
	for _, g := range given {
		path, err := filepath.Abs(g)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("source %s: %w", g, ErrGone)
		}
		if err != nil {
			return fmt.Errorf("source %s: %w", g, err)
		}
		if path == "/" {
			return fmt.Errorf("source %s: the root directory: %w", g, ErrRefused)
		}
		if below(im.dir, path) || below(path, im.dir) {
			return fmt.Errorf("source %s: overlaps the image's directory %s: %w", g, im.dir, ErrRefused)
		}
		im.sources = append(im.sources, source{given: g, path: path})
	}
	for i := range im.sources {
		im.sources[i].root = im.rootOf(im.sources[i].path)
	}
	for i := range im.sources {
		s := &im.sources[i]
		s.rel = strings.TrimPrefix(strings.TrimPrefix(s.path, im.roots[s.root]), "/")
	}
	return nil
}

// rootOf returns the index in im.roots of the shortest source that holds path,
// adding it when needed.
func (im *Image) rootOf(path string) int {
	top := path
	for _, s := range im.sources {
		if below(top, s.path) {
			top = s.path
		}
	}
	for i, root := range im.roots {
		if root == top {
			return i
		}
	}
	im.roots = append(im.roots, top)
	return len(im.roots) - 1
}

// below reports whether path is dir or lies below it; both are clean.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// emptyDir makes sure that dir is an empty directory that only its owner can
// enter, and returns its path without symbolic links.
func emptyDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(names) > 0 {
		return "", fmt.Errorf("%s is not empty", dir)
	}
	return filepath.EvalSymlinks(dir)
}

// writeBack writes the dirty pages of the copy to its disk, file by file. One
// syncfs would be simpler, but it commits the journal and writes what everybody
// else has dirty: production's own syncs would wait for it, up to a second.
func (im *Image) writeBack() error {
	for _, ino := range im.inodes {
		if ino.object == "" || ino.pass != im.pass {
			continue
		}
		fd, err := sys.OpenQuiet(atCWD, ino.object, 0)
		if err != nil {
			return err
		}
		err = sys.SyncFileRange(fd)
		if cerr := fd.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
