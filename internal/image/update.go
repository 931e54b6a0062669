//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// update brings what the image has of the inode at f up to date. force reads
// the content even when nothing tells that it changed.
func (im *Image) update(ctx context.Context, f *found, ino *inode, force bool) error {
	if !ino.attrs.holds(&f.fi) {
		if err := readAttrs(f, ino); err != nil {
			return err
		}
	}
	if f.fi.Type() != syscall.S_IFREG || ino.content.holds(&f.fi) && !force {
		return nil
	}
	src, err := sys.OpenQuiet(f.dir, f.name, syscall.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer src.Close()
	dev, err := im.device(f)
	if err != nil {
		return err
	}
	return im.updateContent(ctx, src, dev, f.fi, ino)
}

// readAttrs reads what stat does not tell. f.fi was taken before, so whatever
// changes meanwhile has a newer ctime.
func readAttrs(f *found, ino *inode) (err error) {
	ino.attrs.valid = false
	if f.fi.Type() == syscall.S_IFLNK {
		if ino.target, err = sys.ReadlinkAt(f.dir, f.name); err != nil {
			return err
		}
	}
	if ino.xattrs, err = sys.Xattrs(f.procPath(), false); err != nil {
		return err
	}
	ino.attrs = versionOf(&f.fi, f.at)
	return nil
}

// updateContent makes ino's object equal to the open file src, which looked
// like fi. While writers run the object may be a mix of old and new; then src's
// ctime differs from the version recorded, and the next pass does it again.
func (im *Image) updateContent(ctx context.Context, src sys.FD, dev *device, fi sys.FileInfo, ino *inode) error {
	at := time.Now()
	now, err := sys.Fstat(src)
	if err != nil {
		return err
	}
	if now.Type() != syscall.S_IFREG || idOf(&now) != idOf(&fi) {
		return syscall.ENOENT // another file took the name
	}
	if !im.frozenPass() {
		// A store to a mapped page that is dirty already changes no timestamp.
		// Written back, the page faults at the next store, and ctime moves.
		if err := flush(src, dev); err != nil {
			return err
		}
	}
	im.cur.Files++
	ino.content.valid = false
	if err := im.fill(ctx, src, dev, now.Size, ino); err != nil {
		return err
	}
	ino.content = versionOf(&now, at)
	if !im.frozenPass() {
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

// fill makes ino's object hold the first size bytes of src.
func (im *Image) fill(ctx context.Context, src sys.FD, dev *device, size int64, ino *inode) error {
	fresh := ino.object == ""
	if fresh {
		if err := im.newObject(ino); err != nil {
			return err
		}
	}
	dst, err := sys.OpenAt(atCWD, ino.object, syscall.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return hide(err)
	}
	defer dst.Close()
	c := copier{ctx: ctx, src: src, dst: dst, size: size, buf: im.buf, pass: im.cur}
	if !dev.noClone {
		done, err := c.clone()
		if err != nil || done {
			return hide(err)
		}
		dev.noClone = true
	}
	if fresh {
		return c.copyAll()
	}
	return c.patch()
}

// newObject makes an empty file for ino's bytes. A directory holds 1024 of them.
func (im *Image) newObject(ino *inode) error {
	dir := filepath.Join(im.dir, fmt.Sprintf("%06d", im.count>>10))
	if im.count&1023 == 0 {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return hide(err)
		}
	}
	path := filepath.Join(dir, fmt.Sprintf("%04d", im.count&1023))
	fd, err := sys.OpenAt(atCWD, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o600)
	if err != nil {
		return hide(err)
	}
	im.count++
	ino.object = path
	return fd.Close()
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
