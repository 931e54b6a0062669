//go:build linux

package image

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// A Pass counts the work of one pass over the sources.
type Pass struct {
	Files    int           // regular files whose bytes were looked at
	Compared int64         // bytes read to find out whether they changed
	Copied   int64         // bytes written to the image
	Cloned   int           // files that now share their blocks with the image
	Duration time.Duration // of all calls
}

// Stats describes an image.
type Stats struct {
	Files   int      // regular files, each inode once
	Bytes   int64    // their sizes
	Skipped []string // sockets and devices, which no world has
	Prepare Pass
	Settle  Pass // all rounds
	Freeze  Pass // the last try
	// Need is the free space that Prepare asked for, Free what it found.
	Need, Free int64
}

// Stats returns the figures so far. Files, Bytes and Skipped are those of the
// frozen sources.
func (im *Image) Stats() Stats { return im.stats }

// reserve is free space that stays for production.
const reserve = 64 << 20

// estimate returns the free space that a copy of all sources needs: 1.1 times
// their allocated bytes, for what they grow, and the reserve. It finds sources
// that cannot be imaged, before anything is copied.
func (im *Image) estimate(ctx context.Context) (int64, error) {
	seen := map[inodeID]bool{}
	var allocated int64
	for _, root := range im.roots {
		met := false
		w := walker{im: im, root: root, live: true, visit: func(f *found) error {
			met = true
			if _, err := im.device(f); err != nil {
				return err
			}
			if f.rel == "" && f.fi.Type() != syscall.S_IFDIR && f.fi.Type() != syscall.S_IFREG {
				return fmt.Errorf("neither a directory nor a regular file: %w", ErrRefused)
			}
			if id := idOf(&f.fi); !seen[id] {
				seen[id] = true
				allocated += 512 * f.fi.Blocks
			}
			return nil
		}}
		if err := w.run(ctx); err != nil {
			return 0, err
		}
		if !met {
			return 0, fmt.Errorf("source %s: %w", root, ErrGone)
		}
	}
	return needed(allocated), nil
}

func needed(allocated int64) int64 { return allocated + allocated/10 + reserve }

// checkSpace returns the free bytes at dir, and ErrSpace when need is more.
func checkSpace(dir string, need int64) (int64, error) {
	info, err := sys.Statfs(dir)
	if err != nil {
		return 0, err
	}
	if info.Avail < need {
		return info.Avail, fmt.Errorf("%w on the file system of %s: need %d MiB, have %d MiB",
			ErrSpace, dir, (need+1<<20-1)>>20, info.Avail>>20)
	}
	return info.Avail, nil
}
