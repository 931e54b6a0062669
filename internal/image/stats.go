//go:build linux

package image

import (
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/model"
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

func (p *Pass) add(q *Pass) {
	p.Files += q.Files
	p.Compared += q.Compared
	p.Copied += q.Copied
	p.Cloned += q.Cloned
}

// Stats describes an image.
type Stats struct {
	Files   int      // regular files, each inode once
	Bytes   int64    // their sizes
	Skipped []string // sockets and devices, which no world has
	Prepare Pass
	Settle  Pass // all rounds
	Freeze  Pass // the last try
	// Ways has how each file system of the sources is imaged.
	Ways []model.DataWay
	// Need is the free space that Prepare asked for at the image's directory, Free what it found.
	Need, Free int64
}

// Stats returns the figures so far. Files, Bytes and Skipped are those of the
// frozen sources.
func (im *Image) Stats() Stats { return im.stats }

// Dirs returns the directories that the image and its worlds take space in,
// besides those the caller named.
func (im *Image) Dirs() (dirs []string) {
	for _, s := range im.stores[1:] {
		if s.dir != "" {
			dirs = append(dirs, s.dir)
		}
	}
	return dirs
}

// reserve is free space that stays for production.
const reserve = 64 << 20

// needed adds what copies of so many bytes may grow by, and the reserve.
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
