//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/pagetrack"
	"github.com/pilotexec/pilot/internal/sys"
)

// update brings what the image has of the inode at f up to date, while writers
// run.
func (im *Image) update(ctx context.Context, f *found, ino *inode) error {
	dev, err := im.device(f)
	if err != nil {
		return err
	}
	src, err := im.changed(f, ino, false)
	if src < 0 || err != nil {
		return err
	}
	defer src.Close()
	return im.worker(ctx).content(src, dev, f.fi, ino)
}

// changed reads the attributes of the inode at f if they changed. It opens the
// file if its content must be read, with force even when nothing tells that it
// changed; else it returns -1.
func (im *Image) changed(f *found, ino *inode, force bool) (src sys.FD, err error) {
	if !ino.attrs.holds(&f.fi) {
		if err := readAttrs(f, ino); err != nil {
			return -1, err
		}
	}
	if f.fi.Type() != syscall.S_IFREG || ino.content.holds(&f.fi) && !force {
		return -1, nil
	}
	src, err = sys.OpenQuiet(f.dir, f.name, syscall.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	return src, nil
}

// readAttrs reads what stat does not tell. f.fi was taken before, so whatever
// changes meanwhile has a newer ctime.
func readAttrs(f *found, ino *inode) (err error) {
	ino.attrs.valid = false
	if f.fi.Type() == syscall.S_IFLNK {
		ino.target, err = sys.ReadlinkAt(f.dir, f.name)
		if errors.Is(err, syscall.EINVAL) {
			err = syscall.ENOENT // what has its name now is no link
		}
		if err != nil {
			return err
		}
	}
	if ino.xattrs, err = sys.Xattrs(f.procPath(), false); err != nil {
		return err
	}
	ino.attrs = versionOf(&f.fi, f.at)
	return nil
}

// A worker brings contents up to date.
type worker struct {
	ctx    context.Context
	frozen bool               // writers are stopped
	track  *pagetrack.Tracker // nil without
	buf    *buffers
	pass   *Pass
}

// worker returns one for the calling goroutine.
func (im *Image) worker(ctx context.Context) *worker {
	return &worker{ctx: ctx, frozen: im.frozenPass(), track: im.track, buf: im.buf, pass: im.cur}
}

// content makes ino's object equal to the open file src, which looked like fi.
// While writers run the object may be a mix of old and new; then src's ctime
// differs from the version recorded, and the next pass does it again.
func (w *worker) content(src sys.FD, dev *device, fi sys.FileInfo, ino *inode) error {
	at := time.Now()
	now, err := sys.Fstat(src)
	if err != nil {
		return err
	}
	if now.Type() != syscall.S_IFREG || idOf(&now) != idOf(&fi) {
		return syscall.ENOENT // another file took the name
	}
	var unsure bool
	since, base := w.since(src, dev, ino, now.Size)
	if !w.frozen {
		// A store to a mapped page that is dirty already changes no timestamp.
		// Written back, the page faults at the next store, and ctime moves.
		// Production's disk, or its mix of direct and other writes, may lead to
		// an EIO: that is production's to see, we only read again later.
		unsure = flush(src, dev) != nil
	}
	w.pass.Files++
	ino.content.valid = false
	if err := w.fill(src, dev, now.Size, ino, since); err != nil {
		return err
	}
	ino.content = versionOf(&now, at)
	if !w.frozen {
		ino.content.valid = !unsure
		if !unsure {
			ino.since = base
		}
		return nil
	}
	after, err := sys.Fstat(src)
	if err != nil {
		return err
	}
	if after.Size != fi.Size || after.Ctime != fi.Ctime {
		return ErrForeign
	}
	return nil
}

// since returns the age from which on changes of src are not in ino's object, and
// the one that it will be when the object was brought up to date; 0 is none. Until
// that is done nothing counts for having been read.
func (w *worker) since(src sys.FD, dev *device, ino *inode, size int64) (since, base pagetrack.Age) {
	since, ino.since = ino.since, 0
	if w.track == nil || !tracked(dev) || size < leastTracked || !pagetrack.Usual(src) {
		return 0, 0
	}
	if ino.track == nil && !w.frozen {
		ino.track, _ = w.track.Add(ino.fi.Dev, ino.fi.Ino, size) // else it is compared
	}
	return since, ino.track.Base()
}

func flush(src sys.FD, dev *device) error {
	switch {
	case dev.memory:
		return nil
	case dev.overlay:
		return sys.Fdatasync(src)
	default:
		return sys.SyncFileRange(src)
	}
}

// Under the pause the dirty pages of a file must be written to its disk before
// its blocks can be shared, 50 to 80 us even for one page, and then sharing costs
// by the extent, 13 to 27 us on btrfs each time. Plain copies cost by the byte.
const (
	// smallFile is overwritten in 12 to 18 us, whatever is dirty.
	smallFile = 32 << 10
	// To copy bytes that are in memory to a new file takes this overhead, and no
	// more than a nanosecond a byte (0.2 on XFS, 1.2 on btrfs).
	plainOverhead = 50 * time.Microsecond
)

// dear reports whether ino's blocks take longer to share than its bytes to copy.
func (ino *inode) dear(size int64) bool {
	return ino.sharing > plainOverhead+time.Duration(size)*time.Nanosecond
}

// fill makes ino's object hold the first size bytes of src. When since is not 0
// the object has all but what changed since then.
func (w *worker) fill(src sys.FD, dev *device, size int64, ino *inode, since pagetrack.Age) (err error) {
	share := dev.share && !ino.unshared
	small := share && w.frozen && size <= smallFile
	dear := share && w.frozen && !small && ino.dear(size)
	fresh := ino.object == ""
	if fresh || dear {
		if !fresh {
			ino.outdated = append(ino.outdated, ino.object) // to free its blocks takes long
		}
		if ino.object, err = dev.store.newObject(); err != nil {
			return hide(err)
		}
		ino.store = dev.store
	}
	dst, err := sys.OpenAt(atCWD, ino.object, syscall.O_RDWR, 0)
	if err != nil {
		return hide(err)
	}
	defer dst.Close()
	c := copier{ctx: w.ctx, src: src, dst: dst, size: size, buf: w.buf, pass: w.pass}
	if w.frozen {
		c.threads = workers()
	} else if ino.track != nil {
		c.unread = ino.track.Unread
		if err := ino.track.UnreadFrom(size); err != nil {
			return err
		}
	}
	switch {
	case small:
		return c.rewrite()
	case dear:
		c.noRange = true // it would share blocks, too
		return c.copyAll()
	case share:
		began := time.Now()
		done, err := c.clone()
		ino.sharing = time.Since(began)
		if err != nil || done {
			return hide(err)
		}
		ino.unshared = true
	}
	if fresh {
		return c.copyAll()
	}
	if since > 0 {
		c.changed = func(from, to int64) iter.Seq2[int64, int64] { return ino.track.Changed(since, from, to) }
	}
	return c.patch()
}

// hide keeps an error of our own files from passing for a source that vanished.
func hide(err error) error {
	if err != nil && vanished(err) {
		return fmt.Errorf("image: %v", err) // %v: see above
	}
	return err
}

// frozenPass reports whether writers are stopped.
func (im *Image) frozenPass() bool { return im.cur == &im.stats.Freeze }
