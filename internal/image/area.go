//go:build linux

package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// An area is a part of the sources that is imaged in one way: a whole root, or
// what a subvolume or a file system that is mounted in one holds.
type area struct {
	root int
	rel  string // of its top, below the root
	dev  uint64
	// snaps is set when snapshots are taken of it, and has where they are kept.
	snaps *store

	tree   tree     // what it holds, when that is known
	frozen string   // the snapshot
	absent []string // what no world has of it: sockets, devices. By entry.rel
}

func (im *Image) path(a *area) string { return join(im.roots[a.root], a.rel) }

// survey finds the areas of all sources, and refuses what cannot be imaged. It
// asks each file system for the space that the image may take: 1.1 times what
// is copied, for what grows, and the reserve.
func (im *Image) survey(ctx context.Context) error {
	seen := map[inodeID]bool{}
	claims := map[*store]int64{}
	var worth []candidate // to be tracked
	now := time.Now()
	for i, root := range im.roots {
		met := false
		w := walker{im: im, root: root, live: true, visit: func(f *found) error {
			met = true
			dev, err := im.device(f)
			if err != nil {
				return err
			}
			if f.rel == "" && f.fi.Type() != syscall.S_IFDIR && f.fi.Type() != syscall.S_IFREG {
				return fmt.Errorf("neither a directory nor a regular file: %w", ErrRefused)
			}
			if f.rel == "" || f.fi.Type() == syscall.S_IFDIR && f.fi.Dev != f.up {
				if err := im.boundary(i, f, dev); err != nil {
					return err
				}
			}
			if id := idOf(&f.fi); !seen[id] {
				seen[id] = true
				claims[dev.store] += claim(&f.fi, dev, now)
				if tracked(dev) && f.fi.Type() == syscall.S_IFREG && f.fi.Size >= leastTracked {
					worth = append(worth, candidate{id, f.fi.Size, 512 * f.fi.Blocks})
				}
			}
			return nil
		}}
		if err := w.run(ctx); err != nil {
			return err
		}
		if !met {
			return fmt.Errorf("source %s: %w", root, ErrGone)
		}
	}
	im.openTrack(worth)
	for _, s := range im.stores {
		free, err := checkSpace(s.path(), needed(claims[s]))
		if err != nil {
			return err
		}
		if s == im.stores[0] {
			im.stats.Need, im.stats.Free = needed(claims[s]), free
		}
	}
	return nil
}

// cold is how long a file must have been left alone to be taken for one that
// production does not overwrite within the life of an image.
const cold = time.Hour

// claim is the space that one inode may take. Sharing takes none by itself, but
// then every block that production overwrites takes a new one.
func claim(fi *sys.FileInfo, dev *device, now time.Time) int64 {
	if dev.share && now.Sub(time.Unix(fi.Mtime.Unix())) > cold {
		return 0
	}
	return 512 * fi.Blocks
}

// boundary notes that another file system or subvolume begins at f.
func (im *Image) boundary(root int, f *found, dev *device) error {
	a := &area{root: root, rel: f.rel, dev: f.fi.Dev}
	why := dev.why
	if dev.btrfs && f.fi.Type() == syscall.S_IFDIR && f.fi.Ino == subvolumeIno {
		if why = im.trySnapshot(f, dev); why == "" {
			a.snaps = dev.store
		}
	} else if dev.btrfs && dev.share {
		why = "no snapshot: not a subvolume of its own"
	}
	around := im.around(root, f.rel)
	if a.snaps != nil && around != nil && im.devs[im.top(root).dev].store != dev.store {
		a.snaps, why = nil, "no snapshot: the source begins on another file system"
	}
	if a.snaps != nil || around == nil || around.snaps != nil {
		im.areas = append(im.areas, a)
	}
	way := model.DataWay{Path: f.path(), FS: dev.name, Way: wayOf(dev.share, a.snaps != nil, dev.memory), Why: why}
	im.stats.Ways, im.wayDevs = append(im.stats.Ways, way), append(im.wayDevs, dev)
	return nil
}

// top returns the area that a root begins with.
func (im *Image) top(root int) *area {
	return im.areas[slices.IndexFunc(im.areas, func(a *area) bool { return a.root == root })]
}

// around returns the innermost area that rel lies in.
func (im *Image) around(root int, rel string) (inner *area) {
	for _, a := range im.areas {
		if a.root == root && (a.rel == "" || below(rel, a.rel)) {
			inner = a
		}
	}
	return inner
}

// trySnapshot makes a snapshot of the subvolume f and removes it. It returns why
// snapshots cannot be used, or nothing.
func (im *Image) trySnapshot(f *found, dev *device) string {
	if !dev.share {
		return dev.why
	}
	if dev.store.dir == "" {
		return "no snapshot: no directory of its file system lies outside of it"
	}
	mounts, err := mountsBelow(f.path())
	if err != nil {
		return "no snapshot: " + causeOf(err)
	}
	for _, point := range mounts {
		// One that is no boundary to a walk: a part of the same subvolume.
		if fi, err := sys.Stat(point); err != nil || fi.Dev == f.fi.Dev {
			return "no snapshot: " + point + " is a mount of the same subvolume"
		}
	}
	target := dev.store.nextSnapshot()
	err = snapshot(f.procPath(), target, true)
	if err == nil {
		err = destroy(target)
	}
	if err != nil {
		return "no snapshot: " + causeOf(err)
	}
	return ""
}

// nextSnapshot returns a path for one.
func (s *store) nextSnapshot() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots++
	return filepath.Join(s.dir, "snapshot"+strconv.Itoa(s.snapshots))
}

// mountsBelow returns the mount points below dir.
func mountsBelow(dir string) (points []string, err error) {
	mounts, err := procfs.Mountinfo(os.Getpid())
	for _, m := range mounts {
		if strings.HasPrefix(m.Point, dir+"/") {
			points = append(points, m.Point)
		}
	}
	return points, err
}

// inner is the skip of walks through the area a: others that lie in it.
func (im *Image) inner(a *area) func(*found) bool {
	return func(f *found) bool {
		return f.fi.Dev != f.up && slices.ContainsFunc(im.areas, func(b *area) bool {
			return b != a && b.root == a.root && b.rel == f.rel
		})
	}
}

// presync writes early what a snapshot would have to write under the pause, by
// taking one. Only this subvolume's dirty pages are written, and of the rest of
// the file system the metadata.
func (im *Image) presync() error {
	for _, a := range im.areas {
		if a.snaps == nil {
			continue
		}
		target := a.snaps.nextSnapshot()
		err := snapshot(im.path(a), target, true)
		if err == nil {
			err = destroy(target)
		}
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", im.path(a), err)
		}
	}
	return nil
}

// freezeSnapshot takes the one that counts.
func (im *Image) freezeSnapshot(a *area) error {
	fi, err := sys.Stat(im.path(a))
	if err != nil || fi.Ino != subvolumeIno || fi.Dev != a.dev {
		return fmt.Errorf("source %s: %w", im.path(a), ErrGone)
	}
	a.frozen = a.snaps.nextSnapshot()
	if err := snapshot(im.path(a), a.frozen, true); err != nil {
		return fmt.Errorf("snapshot of %s: %w", im.path(a), err)
	}
	return nil
}

// complete reads what the snapshots hold, and makes the manifest of all areas.
func (im *Image) complete(ctx context.Context) error {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.manifest != nil {
		return nil
	}
	if err := im.untrack(); err != nil {
		return err
	}
	for _, a := range im.areas {
		if a.snaps == nil || a.tree != nil {
			continue
		}
		if err := im.readSnapshot(ctx, a); err != nil {
			return err
		}
	}
	im.dropUnused()
	manifest := make([]tree, len(im.roots))
	for _, a := range im.areas {
		manifest[a.root] = append(manifest[a.root], a.tree...)
	}
	im.manifest = manifest
	return nil
}

// readSnapshot fills the tree of a from its snapshot.
func (im *Image) readSnapshot(ctx context.Context, a *area) error {
	mounts, err := mountsBelow(im.path(a))
	if err != nil {
		return err
	}
	for _, point := range mounts {
		if !slices.ContainsFunc(im.areas, func(b *area) bool { return im.path(b) == point }) {
			return fmt.Errorf("%s: mounted since the image was prepared: %w", point, ErrForeign)
		}
	}
	var t tree
	var absent []string
	w := walker{root: a.frozen, visit: func(f *found) error {
		rel := strings.TrimPrefix(join(a.rel, f.rel), "/")
		if f.fi.Ino == nestedIno {
			return fmt.Errorf("%s: a subvolume made since the image was prepared: %w", join(im.roots[a.root], rel), ErrForeign)
		}
		if skipped(&f.fi) {
			im.stats.Skipped = append(im.stats.Skipped, join(im.roots[a.root], rel))
			absent = append(absent, rel)
			return nil
		}
		ino := im.inode(&f.fi)
		t = append(t, entry{rel, ino})
		if ino.pass == im.pass {
			return nil
		}
		ino.pass, ino.fi = im.pass, f.fi
		if f.fi.Type() == syscall.S_IFREG {
			ino.object = f.path()
			im.stats.Files++
			im.stats.Bytes += f.fi.Size
		}
		return readAttrs(f, ino)
	}}
	// Mount points and places of nested subvolumes have areas of their own.
	w.skip = func(f *found) bool {
		rel := strings.TrimPrefix(join(a.rel, f.rel), "/")
		return slices.ContainsFunc(im.areas, func(b *area) bool { return b != a && b.root == a.root && b.rel == rel })
	}
	if err := w.run(ctx); err != nil {
		return err
	}
	a.tree, a.absent = t, absent
	return nil
}
