//go:build linux

package image

import (
	"context"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// Bounds of the live rounds of one Settle. Each copies what changed in the one
// before, so it is shorter, until it copies what is written in its own time.
const (
	maxRounds  = 4
	roundsTime = 5 * time.Second
	// fewBytes are not worth another round.
	fewBytes = 2 << 20
)

// Settle makes live rounds: it copies again what changed since the last pass,
// until little does, and writes the copy to its disk, so that Freeze finds little
// to do and is not slowed by the kernel's limit on dirty pages. Call it right
// before the pause.
func (im *Image) Settle(ctx context.Context) error {
	if im.frozen {
		return fmt.Errorf("settle image: %w", errFrozen)
	}
	start := time.Now()
	im.cur = &im.stats.Settle
	err := im.rounds(ctx)
	if err == nil {
		err = im.presync()
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

func (im *Image) rounds(ctx context.Context) error {
	end := time.Now().Add(roundsTime)
	for round, last := 0, int64(-1); ; round++ {
		before := im.cur.Copied
		if err := im.live(ctx); err != nil {
			return err
		}
		if err := im.writeBack(); err != nil {
			return err
		}
		if !another(round, last, im.cur.Copied-before, time.Now().Before(end)) {
			return nil
		}
		last = im.cur.Copied - before
	}
}

// another decides whether a further round pays: the last one copied so many
// bytes, the one before it last, which is negative for the first.
func another(round int, last, copied int64, inTime bool) bool {
	return inTime && round+1 < maxRounds && copied > fewBytes && (last < 0 || copied < last/2)
}

// heat is what changed within one live pass, or does not tell: so much will have
// to be compared at the freeze.
type heat struct {
	files int
	bytes int64  // that they have allocated, or that the kernel saw change
	most  int64  // of it the largest
	path  string // of the largest
	dev   *device
}

// leastCompare is what comparing a MiB takes at least. (0.14 ms were seen with
// all in the second level cache, memcmp alone takes 0.11.)
const leastCompare = 100 * time.Microsecond

// Afford returns [ErrSlow], with the numbers, when Freeze cannot be done in
// limit, by what the last live round had to do. It says nothing before the first
// Settle. How loaded the host is makes no difference.
func (im *Image) Afford(limit time.Duration) error {
	if im.stats.Settle.Duration == 0 {
		return nil
	}
	return im.heat.afford(limit, workers())
}

func (h heat) afford(limit time.Duration, threads int) error {
	least := time.Duration(h.bytes>>20) * leastCompare / time.Duration(threads)
	if least <= limit {
		return nil
	}
	return fmt.Errorf("%w: %d files of %d MiB change all the time, the largest is %s of %d MiB (%s, %s), and to compare them takes %v at least, of %v allowed",
		ErrSlow, h.files, h.bytes>>20, h.path, h.most>>20, h.dev.name, h.dev.why, least.Round(time.Millisecond), limit)
}

// live updates every object from the running sources.
func (im *Image) live(ctx context.Context) error {
	im.pass++
	im.heat = heat{}
	if err := im.nextAge(); err != nil {
		return err
	}
	for _, a := range im.areas {
		if a.snaps != nil {
			continue
		}
		w := walker{im: im, root: im.roots[a.root], rel: a.rel, skip: im.inner(a), live: true, visit: func(f *found) error {
			ino := im.inode(&f.fi)
			if ino.pass == im.pass {
				return nil
			}
			ino.pass, ino.fi = im.pass, f.fi
			before := *im.cur
			err := im.update(ctx, f, ino)
			if dev := im.devs[f.fi.Dev]; dev != nil && (dev.memory || im.cur.Files > before.Files && !dev.share) {
				bytes := min(f.fi.Size, 512*f.fi.Blocks)
				if ino.since > 0 {
					bytes = im.cur.Compared - before.Compared
				}
				im.heat.add(f, dev, bytes)
			}
			return err
		}}
		if err := w.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (h *heat) add(f *found, dev *device, bytes int64) {
	h.files++
	h.bytes += bytes
	if h.dev == nil || bytes > h.most {
		h.most, h.path, h.dev = bytes, f.path(), dev
	}
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
			return hide(err)
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
