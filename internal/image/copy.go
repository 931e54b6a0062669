//go:build linux

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
)

const (
	// window is what is read at a time: small enough to stay in the second
	// level cache, large enough to make the calls cheap.
	window = 128 << 10
	// block is the grain of a patch. Smaller ones write less, larger ones
	// make fewer calls.
	block = 16 << 10
	// chunk bounds one copy_file_range, so that a deadline is noticed.
	chunk = 4 << 20
	// segment is what one of several threads patches at a time.
	segment = 4 << 20
)

// buffers are reused between files.
type buffers struct{ src, dst []byte }

func newBuffers() *buffers { return &buffers{make([]byte, window), make([]byte, window)} }

// A copier makes dst equal to the first size bytes of src. Holes of src become
// holes of dst. When src shrinks meanwhile the result is short of data, never
// wrong in size.
type copier struct {
	ctx      context.Context
	src, dst sys.FD
	size     int64
	buf      *buffers
	pass     *Pass

	threads int  // that patch a large file
	noRange bool // copy_file_range does not work between the two
	// changed yields the parts of [from, to) that may differ. When it is nil all may.
	changed func(from, to int64) iter.Seq2[int64, int64]
	// unread is told what was not read, for it was a hole or no longer there. It may
	// be nil.
	unread func(from, to int64) error
}

// clone shares src's blocks with dst. It reports false when the file systems
// cannot do that.
func (c *copier) clone() (bool, error) {
	// FICLONE leaves what dst has behind the end of src, and fails with EINVAL
	// when that end is not aligned.
	fi, err := sys.Fstat(c.dst)
	if err != nil {
		return false, err
	}
	if fi.Size > c.size {
		if err := sys.Ftruncate(c.dst, c.size); err != nil {
			return false, err
		}
	}
	err = share(c.dst, c.src)
	switch {
	case err == nil:
		c.pass.Cloned++
		return true, nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return false, c.full(err)
	default: // EIO of src's dirty pages, EOPNOTSUPP, ENOTTY, EXDEV, EINVAL (different block size), EPERM (seccomp), ...
		return false, nil
	}
}

// share is FICLONE, also between files that differ in chattr's +C, which btrfs
// refuses: an empty dst takes it from src.
func share(dst, src sys.FD) error {
	err := sys.Clone(dst, src)
	if !errors.Is(err, syscall.EINVAL) {
		return err
	}
	if want := sys.NoCow(src); want == sys.NoCow(dst) || sys.SetNoCow(dst, want) != nil {
		return err
	}
	return sys.Clone(dst, src)
}

// copyAll fills an empty dst.
func (c *copier) copyAll() error {
	err := c.extents(0, c.size, c.copyData, nil)
	if err == nil {
		err = sys.Ftruncate(c.dst, c.size)
	}
	return c.full(err)
}

// rewrite copies a file that is not larger than a window, holes included.
func (c *copier) rewrite() error {
	n, err := readFull(c.src, c.buf.src[:c.size], 0)
	if err == nil {
		err = sys.Ftruncate(c.dst, c.size)
	}
	if err == nil {
		clear(c.buf.src[n:c.size])
		err = c.write(c.buf.src[:c.size], 0)
	}
	return c.full(err)
}

// patch rewrites what differs in dst.
func (c *copier) patch() error {
	fi, err := sys.Fstat(c.dst)
	if err == nil && fi.Size != c.size {
		err = sys.Ftruncate(c.dst, c.size)
	}
	if err == nil && c.threads > 1 && c.suspect(2*segment) {
		err = c.patchWide()
	} else if err == nil {
		err = c.patchPart(0, c.size)
	}
	return c.full(err)
}

// suspect reports whether so many bytes may differ.
func (c *copier) suspect(least int64) bool {
	if c.changed == nil {
		return c.size >= least
	}
	for from, to := range c.changed(0, c.size) {
		if least -= to - from; least <= 0 {
			return true
		}
	}
	return false
}

// patchPart rewrites what differs in [from, to).
func (c *copier) patchPart(from, to int64) error {
	if c.changed == nil {
		return c.extents(from, to, c.patchData, c.clear)
	}
	return c.extents(from, to, c.patchChanged, c.clear)
}

// patchChanged is patchData for what may have changed.
func (c *copier) patchChanged(from, to int64) error {
	for from, to := range c.changed(from, to) {
		if err := c.patchData(from, to); err != nil {
			return err
		}
	}
	return nil
}

// leave notes that [from, to) of src was not read.
func (c *copier) leave(from, to int64) error {
	if c.unread == nil || from >= to {
		return nil
	}
	return c.unread(from, to)
}

// patchWide patches with several threads, segment by segment.
func (c *copier) patchWide() error {
	var next atomic.Int64
	parts := make([]copier, c.threads)
	errs := make([]error, c.threads)
	var wg sync.WaitGroup
	for i := range parts {
		parts[i] = *c
		parts[i].buf, parts[i].pass = newBuffers(), &Pass{}
		wg.Go(func() {
			for errs[i] == nil {
				from := next.Add(segment) - segment
				if from >= c.size {
					return
				}
				errs[i] = parts[i].patchPart(from, min(from+segment, c.size))
			}
		})
	}
	wg.Wait()
	for i := range parts {
		c.pass.add(parts[i].pass)
	}
	return errors.Join(errs...)
}

// full turns the errnos of a full disk into ErrSpace.
func (c *copier) full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w while copying: %w", ErrSpace, err)
	}
	return err
}

// extents calls data and hole for the parts of [off, to) of src, in order. The
// end of an unwritten (preallocated) part may be reported as data; that is only
// slower.
//
// It asks for data first of all, and must: a write(2) moves ctime and copies the
// bytes then, for seconds if they are many, under the inode's lock. Who has seen
// ctime and takes the lock then sees the bytes. SEEK_DATA takes it on ext4, btrfs
// and tmpfs, reading does on XFS, and FICLONE everywhere. (ext4_llseek,
// find_desired_extent, shmem_file_llseek, xfs_file_buffered_read)
func (c *copier) extents(off, to int64, data, hole func(from, to int64) error) error {
	for off < to {
		start, end := nextData(c.src, off, to)
		if err := c.leave(off, start); err != nil {
			return err
		}
		if hole != nil && start > off {
			if err := hole(off, start); err != nil {
				return err
			}
		}
		if start < end {
			if err := data(start, end); err != nil {
				return err
			}
		}
		off = end
	}
	return nil
}

// nextData returns the first part with data in [off, size) of fd; both ends are
// size when there is none. All is data where the file system cannot tell.
func nextData(fd sys.FD, off, size int64) (start, end int64) {
	start, err := sys.SeekData(fd, off)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return size, size
	case err != nil:
		return off, size
	case start >= size:
		return size, size
	}
	end, err = sys.SeekHole(fd, start)
	if err != nil || end > size {
		end = size // ENXIO: truncated meanwhile
	}
	return start, end
}

func (c *copier) copyData(from, to int64) error {
	for from < to && !c.noRange {
		if err := checkBudget(c.ctx); err != nil {
			return err
		}
		n, err := sys.CopyFileRange(c.dst, c.src, from, int(min(to-from, chunk)))
		switch {
		case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO):
			return err
		case err != nil: // EXDEV, EOPNOTSUPP, EINVAL, ...
			c.noRange = true
			continue
		case n == 0:
			return c.leave(from, to) // src was truncated
		}
		from += int64(n)
		c.pass.Copied += int64(n)
	}
	for from < to {
		if err := checkBudget(c.ctx); err != nil {
			return err
		}
		n, err := readFull(c.src, c.buf.src[:min(to-from, window)], from)
		if err != nil {
			return err
		}
		if n == 0 {
			return c.leave(from, to)
		}
		if err := c.write(c.buf.src[:n], from); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

func (c *copier) patchData(from, to int64) error {
	for from < to {
		if err := checkBudget(c.ctx); err != nil {
			return err
		}
		n, err := readFull(c.src, c.buf.src[:min(to-from, window)], from)
		if err != nil {
			return err
		}
		if n == 0 {
			return c.leave(from, to)
		}
		src, dst := c.buf.src[:n], c.buf.dst[:n]
		m, err := readFull(c.dst, dst, from)
		if err != nil {
			return err
		}
		if m < n {
			return fmt.Errorf("image: short read of %d bytes at %d", m, from)
		}
		c.pass.Compared += int64(n)
		for start, end := range differing(src, dst) {
			if err := c.write(src[start:end], from+int64(start)); err != nil {
				return err
			}
		}
		from += int64(n)
	}
	return nil
}

// differing yields the runs of blocks in which a and b differ.
func differing(a, b []byte) func(yield func(start, end int) bool) {
	return func(yield func(int, int) bool) {
		if bytes.Equal(a, b) {
			return
		}
		start := -1
		for off := 0; off < len(a); off += block {
			end := min(off+block, len(a))
			switch same := bytes.Equal(a[off:end], b[off:end]); {
			case !same && start < 0:
				start = off
			case same && start >= 0:
				if !yield(start, off) {
					return
				}
				start = -1
			}
		}
		if start >= 0 {
			yield(start, len(a))
		}
	}
}

// clear makes [from, to) of dst read as zeros, as a hole if possible.
func (c *copier) clear(from, to int64) error {
	for from < to {
		start, end := nextData(c.dst, from, to)
		if start >= end {
			return nil
		}
		err := sys.PunchHole(c.dst, start, end-start)
		if errors.Is(err, syscall.EOPNOTSUPP) {
			err = c.zero(start, end)
		}
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

func (c *copier) zero(from, to int64) error {
	clear(c.buf.src)
	for from < to {
		n := min(to-from, window)
		if err := c.write(c.buf.src[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (c *copier) write(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := sys.Pwrite(c.dst, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
		c.pass.Copied += int64(n)
	}
	return nil
}

// readFull reads until p is full or the file ends.
func readFull(fd sys.FD, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := sys.Pread(fd, p[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}
