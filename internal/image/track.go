//go:build linux

package image

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/pagetrack"
)

const (
	// leastTracked is compared in less time than its pages are asked for.
	leastTracked = 16 << 10
	// mostTracked bounds what all tracked files have. The kernel needs a byte of memory
	// for each page of it.
	mostTracked = 256 << 30
	// growth is room for files that are new, or grow.
	growth = 4 << 30
	// worthTracking is what the files have to hold: less is compared in a millisecond,
	// while to begin to track takes a tenth of a second, if not under the pause.
	worthTracking = 4 << 20
)

// A candidate is a file that survey found worth being tracked.
type candidate struct {
	id          inodeID
	size, bytes int64 // bytes are allocated
}

// openTrack begins to track the pages of the largest candidates. It is done
// before any is read. Without it they are compared.
func (im *Image) openTrack(all []candidate) {
	if !slices.ContainsFunc(im.wayDevs, tracked) {
		return
	}
	least, held := cmp.Or(im.trackFrom, worthTracking), int64(0)
	for _, c := range all {
		held += c.bytes
	}
	if held < least {
		for _, dev := range im.wayDevs {
			dev.untracked = "there is little to compare"
		}
		return
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.size, a.size) })
	total := int64(growth)
	for _, c := range all {
		total += pagetrack.Room(c.size)
	}
	t, err := pagetrack.Open(min(total, mostTracked))
	for i, dev := range im.wayDevs {
		if err != nil && tracked(dev) {
			dev.untracked = err.Error()
		}
		switch way := &im.stats.Ways[i]; {
		case tracked(dev):
			way.Way = wayTrack
		case way.Way == wayPatch:
			way.Why += "; no tracking of pages: " + dev.untracked
		}
	}
	if err != nil {
		return
	}
	im.track = t
	for _, c := range all {
		f, err := t.Add(c.id.dev, c.id.ino, c.size)
		if err != nil {
			break
		}
		im.inodes[c.id] = &inode{track: f}
	}
}

func tracked(d *device) bool { return d.untracked == "" }

// nextAge makes the pages that change from now on those that are to be read in
// the next pass.
func (im *Image) nextAge() error {
	if im.track == nil {
		return nil
	}
	if err := im.track.Next(); err != nil {
		return im.untrack()
	}
	return nil
}

// doubt has all files compared when the kernel left something out.
func (im *Image) doubt() {
	if im.track == nil || !im.track.Lost() {
		return
	}
	for _, ino := range im.inodes {
		ino.since = 0
	}
}

// untrack has files compared instead.
func (im *Image) untrack() error {
	if im.track == nil {
		return nil
	}
	for _, ino := range im.inodes {
		ino.track = nil
	}
	err := im.track.Close()
	im.track = nil
	if err != nil {
		return fmt.Errorf("track pages: %w", err)
	}
	return nil
}
