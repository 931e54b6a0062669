//go:build linux

package image

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/sys"
)

// Diff compares the image with a tree that [Image.World] made: names created,
// changed and removed, sorted by their path in the sources. A file is changed
// when its type, content, size, mode, owner, link target or extended attributes
// differ; new timestamps alone are no change. Sockets and devices are left out.
//
// A file is read only when its inode, size or ctime show that it was touched,
// or on tmpfs, where they would not. The world may run, but then what it writes
// during Diff may be missed.
func (im *Image) Diff(ctx context.Context, t *Tree) ([]model.FileChange, error) {
	if !im.frozen || len(t.tops) != len(im.manifest) {
		return nil, fmt.Errorf("compare world: not a world of this image")
	}
	d := differ{ctx: ctx, tree: t, buf: newBuffers()}
	for i := range im.manifest {
		if err := d.root(im.roots[i], t.tops[i], im.manifest[i], t.made[i]); err != nil {
			return nil, fmt.Errorf("compare world: %w", err)
		}
	}
	slices.SortFunc(d.changes, func(a, b model.FileChange) int { return strings.Compare(a.Path, b.Path) })
	return d.changes, nil
}

type differ struct {
	ctx     context.Context
	tree    *Tree
	buf     *buffers
	changes []model.FileChange
}

// root compares one tree of the manifest with the directory or file top.
func (d *differ) root(source, top string, t tree, made map[string]seal) error {
	old := make(map[string]*inode, len(t))
	for _, e := range t {
		old[e.rel] = e.ino
	}
	// Live, since phantoms may still run; names that vanish count as removed.
	w := walker{root: top, live: true, visit: func(f *found) error {
		if skipped(&f.fi) {
			return nil
		}
		ino := old[f.rel]
		delete(old, f.rel)
		path := join(source, f.rel)
		if ino == nil {
			d.add("+", path, nil, &f.fi)
			return nil
		}
		if made[f.rel] == sealOf(&f.fi) && !d.tree.memory {
			return nil
		}
		same, err := d.same(f, ino)
		if err == nil && !same {
			d.add("~", path, &ino.fi, &f.fi)
		}
		if vanished(err) {
			d.add("-", path, &ino.fi, nil)
		}
		return err
	}}
	if err := w.run(d.ctx); err != nil {
		return err
	}
	for rel, ino := range old {
		d.add("-", join(source, rel), &ino.fi, nil)
	}
	return nil
}

func (d *differ) add(sign, path string, old, now *sys.FileInfo) {
	ch := model.FileChange{Sign: sign, Path: path}
	if old != nil && old.Type() == syscall.S_IFREG {
		ch.Old = old.Size
	}
	if now != nil && now.Type() == syscall.S_IFREG {
		ch.New = now.Size
	}
	d.changes = append(d.changes, ch)
}

// same reports whether f is as the image has it.
func (d *differ) same(f *found, ino *inode) (bool, error) {
	a, b := &ino.fi, &f.fi
	if a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Rdev != b.Rdev && a.Type() == syscall.S_IFCHR {
		return false, nil
	}
	xattrs, err := sys.Xattrs(f.procPath(), false)
	if err != nil || !sameXattrs(ino.xattrs, xattrs) {
		return false, err
	}
	switch a.Type() {
	case syscall.S_IFLNK:
		target, err := sys.ReadlinkAt(f.dir, f.name)
		return target == ino.target, err
	case syscall.S_IFREG:
		if a.Size != b.Size {
			return false, nil
		}
		return d.sameContent(f, ino)
	}
	return true, nil
}

// sameXattrs compares without regard to order.
func sameXattrs(a, b []sys.Xattr) bool {
	if len(a) != len(b) {
		return false
	}
	values := make(map[string][]byte, len(a))
	for _, x := range a {
		values[x.Name] = x.Value
	}
	for _, x := range b {
		if v, ok := values[x.Name]; !ok || !bytes.Equal(v, x.Value) {
			return false
		}
	}
	return true
}

func (d *differ) sameContent(f *found, ino *inode) (bool, error) {
	now, err := sys.OpenQuiet(f.dir, f.name, syscall.O_NOFOLLOW)
	if err != nil {
		return false, err
	}
	defer now.Close()
	old, err := sys.OpenQuiet(atCWD, ino.object, 0)
	if err != nil {
		return false, hide(err)
	}
	defer old.Close()
	for off := int64(0); off < ino.fi.Size; {
		if err := checkBudget(d.ctx); err != nil {
			return false, err
		}
		// Where both have a hole there is nothing to read.
		a, _ := nextData(old, off, ino.fi.Size)
		b, _ := nextData(now, off, ino.fi.Size)
		if off = min(a, b); off == ino.fi.Size {
			break
		}
		n := min(ino.fi.Size-off, window)
		x, err := readFull(old, d.buf.src[:n], off)
		if err != nil {
			return false, hide(err)
		}
		y, err := readFull(now, d.buf.dst[:n], off)
		if err != nil || x != y || !bytes.Equal(d.buf.src[:x], d.buf.dst[:y]) {
			return false, err
		}
		off += n
	}
	return true, nil
}
