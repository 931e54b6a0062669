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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/pagetrack"
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
	// ErrSlow means that the part of the work that needs the pause is too much.
	ErrSlow = errors.New("the pause would be too long")
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

	nameless  bool // see Config
	stores    []*store
	areas     []*area // those around others first
	inodes    map[inodeID]*inode
	devs      map[uint64]*device
	pass      int
	buf       *buffers
	stats     Stats
	cur       *Pass // the pass under way
	heat      heat
	track     *pagetrack.Tracker // nil without
	trackFrom int64              // see Config
	wayDevs   []*device          // of stats.Ways

	frozen  bool
	deleted map[string]*inode // by the caller's key

	mu       sync.Mutex // guards what follows
	worlds   int        // made
	home     *bool      // see sharesHome
	manifest []tree     // one per root, nil until complete
	outer    []string   // trees of worlds that lie outside of their directory
}

// Config says what to image, and where to.
type Config struct {
	Dir     string
	Sources []string
	// Nameless keeps the image from making a directory of its own on the file
	// systems of sources, which would be found by no one if this process died.
	Nameless bool
	// TrackFrom is how many bytes files have to hold for their pages to be tracked;
	// 0 stands for what is worth it.
	TrackFrom int64
}

// Prepare copies every tree or file of sources to dir while production runs.
// dir must be empty or absent, and outside of the sources. When Prepare fails
// nothing is left in dir.
func Prepare(ctx context.Context, dir string, sources []string) (*Image, error) {
	return Config{Dir: dir, Sources: sources}.Prepare(ctx)
}

// Prepare is [Prepare] with all that can be chosen.
func (c Config) Prepare(ctx context.Context) (*Image, error) {
	start := time.Now()
	im, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("prepare image: %w", err)
	}
	if err := im.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare image: %w", err), im.Remove())
	}
	im.stats.Prepare.Duration = time.Since(start)
	return im, nil
}

// Examine tells how each file system of the sources would be imaged, by trying
// it. Nothing is copied, and nothing is left.
func (c Config) Examine(ctx context.Context) ([]model.DataWay, error) {
	im, err := c.open()
	if err == nil {
		err = errors.Join(im.survey(ctx), im.Remove())
	}
	if err != nil {
		return nil, fmt.Errorf("examine data: %w", err)
	}
	return im.stats.Ways, nil
}

// open makes an image that knows its sources and nothing of them.
func (c Config) open() (*Image, error) {
	dir, err := emptyDir(c.Dir)
	if err != nil {
		return nil, err
	}
	im := &Image{dir: dir, nameless: c.Nameless, trackFrom: c.TrackFrom, inodes: map[inodeID]*inode{}, devs: map[uint64]*device{}, buf: newBuffers()}
	im.stores = []*store{{dir: dir}}
	im.cur = &im.stats.Prepare
	fi, err := sys.Stat(dir)
	if err == nil {
		im.self = idOf(&fi)
		err = im.resolve(c.Sources)
	}
	if err != nil {
		return nil, errors.Join(err, im.Remove())
	}
	return im, nil
}

func (im *Image) prepare(ctx context.Context) error {
	if err := im.survey(ctx); err != nil {
		return err
	}
	if err := im.live(ctx); err != nil {
		return err
	}
	return fault.ImageCopied.Hit()
}

// Remove deletes the image, and the worlds that share blocks with it outside of
// its directory. They must not be in use.
func (im *Image) Remove() error {
	errs := []error{im.untrack()}
	for _, path := range im.outer {
		errs = append(errs, erase(path))
	}
	for _, s := range slices.Backward(im.stores) { // the record of the others is in the first
		errs = append(errs, s.remove())
	}
	im.stores, im.outer = nil, nil
	if err := errors.Join(errs...); err != nil {
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
