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
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// A Tree is one writable copy of a frozen image.
type Tree struct {
	Roots []Root // one per source, in the order given to [Prepare]
	// Deleted has the path of the copy of each unlinked file by the caller's
	// key. Keys of one file share a path. The caller opens and unlinks it.
	Deleted map[string]string
	// Lost names attributes that the file system of the copy cannot hold.
	Lost []string

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
	im.prune.Do(im.dropUnused)
	dir, err := emptyDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make world: %w", err)
	}
	b := builder{im: im, ctx: ctx, dir: dir, names: map[*inode]string{}, tree: &Tree{Deleted: map[string]string{}},
		copier: copier{ctx: ctx, buf: newBuffers(), pass: &Pass{}}}
	if err := b.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("make world: %w", err), os.RemoveAll(dir))
	}
	return b.tree, nil
}

// dropUnused removes the copies of files that were gone when the image froze.
func (im *Image) dropUnused() {
	for id, ino := range im.inodes {
		if ino.pass == im.pass {
			continue
		}
		if ino.object != "" {
			_ = os.Remove(ino.object) // only costs space, and Remove tries again
		}
		delete(im.inodes, id)
	}
}

// A builder makes one Tree.
type builder struct {
	im      *Image
	ctx     context.Context
	dir     string
	names   map[*inode]string // the first name of each file made
	tree    *Tree
	copier  copier
	noClone bool
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
	for i, t := range b.im.manifest {
		top := filepath.Join(b.dir, strconv.Itoa(i))
		b.tree.tops = append(b.tree.tops, top)
		if err := b.root(top, t); err != nil {
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

// checkSpace asks for room for what a copy takes.
func (b *builder) checkSpace() error {
	allocated, err := b.allocated()
	if err == nil {
		_, err = checkSpace(b.dir, needed(allocated))
	}
	return err
}

// Room returns [ErrSpace], with the numbers, when there is no room for so many
// worlds on the file system of the image. The image need not be frozen yet.
func (im *Image) Room(ctx context.Context, worlds int) error {
	dir, err := os.MkdirTemp(im.dir, "room")
	if err != nil {
		return err
	}
	b := builder{im: im, ctx: ctx, dir: dir, copier: copier{ctx: ctx, buf: newBuffers(), pass: &Pass{}}}
	allocated, err := b.allocated()
	if err == nil {
		_, err = checkSpace(im.dir, needed(int64(worlds)*allocated))
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("room for %d worlds: %w", worlds, err)
	}
	return nil
}

// allocated is what the blocks of a copy take: those of all objects, or none
// where they can be shared.
func (b *builder) allocated() (total int64, err error) {
	var sample string
	for _, ino := range b.im.inodes {
		total += 512 * ino.fi.Blocks
		if ino.object != "" && ino.fi.Size > 0 {
			sample = ino.object
		}
	}
	if sample == "" {
		return total, nil
	}
	probe := filepath.Join(b.dir, "probe")
	if err := b.file(probe, sample, 0); err != nil {
		return 0, err
	}
	if err := os.Remove(probe); err != nil {
		return 0, err
	}
	if !b.noClone {
		return 0, nil
	}
	return total, nil
}

func (b *builder) root(top string, t tree) error {
	for i, e := range t {
		if i%64 == 0 {
			if err := checkBudget(b.ctx); err != nil {
				return err
			}
		}
		if err := b.entry(join(top, e.rel), e.ino); err != nil {
			return fmt.Errorf("%s: %w", e.rel, err)
		}
	}
	// Directories last, and inner ones first: making an entry changes the
	// times of its directory, and a mode may forbid it.
	for _, e := range slices.Backward(t) {
		if e.ino.fi.Type() == syscall.S_IFDIR {
			if err := b.attrs(join(top, e.rel), e.ino); err != nil {
				return fmt.Errorf("%s: %w", e.rel, err)
			}
		}
	}
	return nil
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
		err = b.file(path, ino.object, ino.fi.Size)
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

// file makes path with the first size bytes of object.
func (b *builder) file(path, object string, size int64) error {
	dst, err := sys.OpenAt(atCWD, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	src, err := sys.OpenQuiet(atCWD, object, syscall.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer src.Close()
	c := &b.copier
	c.src, c.dst, c.size = src, dst, size
	if !b.noClone {
		done, err := c.clone()
		if done || err != nil {
			return err
		}
		b.noClone = true
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
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for key, ino := range b.im.deleted {
		// One that has a name as well gets another, for the caller to unlink.
		path := b.names[ino]
		if path == "" || ino.fi.Nlink > 0 {
			path = filepath.Join(dir, strconv.Itoa(len(b.tree.Deleted)))
			if err := b.entry(path, ino); err != nil {
				return fmt.Errorf("deleted file %s: %w", key, err)
			}
		}
		b.tree.Deleted[key] = path
	}
	return nil
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
