//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// A builder makes one Tree.
type builder struct {
	im     *Image
	ctx    context.Context
	dir    string
	outer  []string          // directories of it elsewhere
	number int               // of the world
	names  map[*inode]string // the first name of each file made
	tree   *Tree
	copier copier
	to     string // the copy of a root that is being made
	// unshared has from where to where blocks could not be shared.
	unshared map[way]bool
	// untouched has the directories of snapshots that are as they were.
	untouched map[*inode]bool
}

// A way leads from a store, nil for snapshots, to the copy of a root.
type way struct {
	from *store
	to   string
}

func (b *builder) build() error {
	info, err := sys.Statfs(b.dir)
	if err != nil {
		return err
	}
	b.tree.memory = isMemory(info.Magic)
	for _, s := range b.im.sources {
		if below(b.dir, s.path) || below(s.path, b.dir) {
			return fmt.Errorf("%s overlaps source %s: %w", b.dir, s.given, ErrRefused)
		}
	}
	if err := b.checkSpace(); err != nil {
		return err
	}
	b.im.mu.Lock()
	b.im.worlds++
	b.number = b.im.worlds
	b.im.mu.Unlock()
	for i := range b.im.roots {
		if err := b.root(i); err != nil {
			return err
		}
	}
	if err := b.deleted(); err != nil {
		return err
	}
	for _, s := range b.im.sources {
		b.tree.Roots = append(b.tree.Roots, Root{s.given, join(b.tree.tops[s.root], s.rel)})
	}
	return b.seal()
}

// erase removes what lies outside of dir.
func (b *builder) erase() (err error) {
	for _, path := range b.outer {
		err = errors.Join(err, erase(path))
	}
	return err
}

// checkSpace asks for room for what a copy takes.
func (b *builder) checkSpace() error {
	_, err := checkSpace(b.dir, needed(b.im.copied()))
	return err
}

// top returns where the copy of root i comes to lie: in a store that can share
// the blocks of the root's first area, else in the world's directory.
func (b *builder) top(i int) (string, error) {
	at := strconv.Itoa(i)
	dev := b.im.devs[b.im.top(i).dev]
	if !dev.share || dev.store.dir == "" || dev.store == b.im.stores[0] {
		return filepath.Join(b.dir, at), nil
	}
	dir := filepath.Join(dev.store.dir, "world"+strconv.Itoa(b.number))
	if !slices.Contains(b.outer, dir) {
		b.outer = append(b.outer, dir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, at), nil
}

// root makes the copy of root i, area by area, the outer ones first.
func (b *builder) root(i int) error {
	top, err := b.top(i)
	if err != nil {
		return err
	}
	b.to, b.tree.tops = top, append(b.tree.tops, top)
	for _, a := range b.im.areas {
		if a.root != i {
			continue
		}
		make := b.area
		if a.snaps != nil {
			make = b.snapshot
		}
		if err := make(top, a); err != nil {
			return err
		}
	}
	// Directories last, and inner ones first: making an entry changes the
	// times of its directory, and a mode may forbid it.
	for _, a := range slices.Backward(b.im.areas) {
		if a.root != i {
			continue
		}
		for _, e := range slices.Backward(a.tree) {
			if e.ino.fi.Type() == syscall.S_IFDIR && !b.untouched[e.ino] {
				if err := b.attrs(join(top, e.rel), e.ino); err != nil {
					return fmt.Errorf("%s: %w", e.rel, err)
				}
			}
		}
	}
	return nil
}

// area makes the entries of a.
func (b *builder) area(top string, a *area) error {
	if a.rel != "" {
		// A snapshot around it may have there what a mount covered.
		if err := erase(join(top, a.rel)); err != nil {
			return err
		}
	}
	for i, e := range a.tree {
		if i%64 == 0 {
			if err := checkBudget(b.ctx); err != nil {
				return err
			}
		}
		if err := b.entry(join(top, e.rel), e.ino); err != nil {
			return fmt.Errorf("%s: %w", e.rel, err)
		}
	}
	return nil
}

// snapshot makes a writable snapshot of a.
func (b *builder) snapshot(top string, a *area) error {
	path := join(top, a.rel)
	if a.rel != "" {
		if err := erase(path); err != nil { // an empty directory, or a mount point
			return err
		}
	}
	if err := snapshot(a.frozen, path, false); err != nil {
		return fmt.Errorf("snapshot of %s: %w", b.im.path(a), err)
	}
	if filepath.Dir(path) == b.dir {
		b.outer = append(b.outer, path) // the caller might not know how
	}
	changed := map[string]bool{}
	for _, rel := range a.absent {
		if err := os.Remove(join(top, rel)); err != nil {
			return err
		}
		changed[parent(rel)] = true
	}
	for _, other := range b.im.areas {
		if other != a && other.root == a.root && other.rel != "" {
			changed[parent(other.rel)] = true
		}
	}
	for _, e := range a.tree {
		if e.ino.fi.Type() == syscall.S_IFDIR && !changed[e.rel] {
			b.untouched[e.ino] = true
		}
	}
	return nil
}

func parent(rel string) string {
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		return rel[:i]
	}
	return ""
}

// entry makes one name of ino.
func (b *builder) entry(path string, ino *inode) error {
	kind := ino.fi.Type()
	if kind == syscall.S_IFDIR {
		return os.Mkdir(path, 0o700)
	}
	if first := b.names[ino]; first != "" {
		return os.Link(first, path)
	}
	b.names[ino] = path
	var err error
	switch kind {
	case syscall.S_IFREG:
		err = b.file(path, ino)
	case syscall.S_IFLNK:
		err = os.Symlink(ino.target, path)
	default:
		err = os.NewSyscallError("mknod", syscall.Mknod(path, kind|0o600, int(ino.fi.Rdev)))
	}
	if err != nil {
		return err
	}
	return b.attrs(path, ino)
}

// file makes path with the bytes of ino.
func (b *builder) file(path string, ino *inode) error {
	dst, err := sys.OpenAt(atCWD, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	src, err := sys.OpenQuiet(atCWD, ino.object, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	c := &b.copier
	c.src, c.dst, c.size, c.noRange = src, dst, ino.fi.Size, false
	over := way{ino.store, b.to}
	if !b.unshared[over] {
		done, err := c.clone()
		if done || err != nil {
			return err
		}
		b.unshared[over] = true
	}
	return c.copyAll()
}

// attrs gives path what ino has besides content. The order matters: chown
// clears set-user-id bits and security.capability, all but utimensat move times.
func (b *builder) attrs(path string, ino *inode) error {
	if err := syscall.Lchown(path, int(ino.fi.UID), int(ino.fi.GID)); err != nil {
		if !unsupported(err) {
			return os.NewSyscallError("lchown", err)
		}
		b.lost(path, "owner")
	}
	if ino.fi.Type() != syscall.S_IFLNK {
		if err := syscall.Chmod(path, ino.fi.Mode&^syscall.S_IFMT); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	for _, x := range ino.xattrs {
		if err := sys.SetXattr(path, x); err != nil {
			if !unsupported(err) {
				return err
			}
			b.lost(path, x.Name)
		}
	}
	return sys.SetTimes(path, ino.fi.Atime, ino.fi.Mtime)
}

// unsupported reports whether err says that an attribute cannot be had here.
func unsupported(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EPERM)
}

func (b *builder) lost(path, what string) {
	b.tree.Lost = append(b.tree.Lost, what+" of "+path)
}

// deleted makes the unlinked files.
func (b *builder) deleted() error {
	if len(b.im.deleted) == 0 {
		return nil
	}
	dir := filepath.Join(b.dir, "deleted")
	b.to = dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for key, ino := range b.im.deleted {
		// One that is known by another name as well is the file of that name.
		path := b.names[ino]
		if path == "" {
			path = b.named(ino)
		}
		if path == "" {
			path = filepath.Join(dir, strconv.Itoa(len(b.tree.Deleted)))
			if err := b.entry(path, ino); err != nil {
				return fmt.Errorf("deleted file %s: %w", key, err)
			}
		}
		b.tree.Deleted[key] = path
	}
	return nil
}

// named returns the name that ino has in the snapshot of a subvolume, or "".
func (b *builder) named(ino *inode) string {
	for _, a := range b.im.areas {
		if a.snaps == nil || a.dev != ino.fi.Dev {
			continue
		}
		for _, e := range a.tree {
			if e.ino.fi.Ino == ino.fi.Ino {
				return join(b.tree.tops[a.root], e.rel)
			}
		}
	}
	return ""
}

// seal notes what every file looks like, after the last link was made.
func (b *builder) seal() error {
	for _, top := range b.tree.tops {
		made := map[string]seal{}
		w := walker{root: top, visit: func(f *found) error {
			made[f.rel] = sealOf(&f.fi)
			return nil
		}}
		if err := w.run(b.ctx); err != nil {
			return err
		}
		b.tree.made = append(b.tree.made, made)
	}
	// With coarse timestamps the first store by a phantom could otherwise
	// leave ctime as it is.
	time.Sleep(tick)
	return nil
}
