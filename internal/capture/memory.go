//go:build linux

package capture

import (
	"fmt"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
)

// NeedsBytes reports whether the bytes of a mapping must be copied in the
// pause: those that fork shares with production and that are not in a file
// with a name of its own in a data directory, and those that fork leaves out.
func NeedsBytes(v procfs.VMA, data []string) bool {
	switch {
	case v.Has("dc") && !v.Has("io") && !v.Has("pf"):
		return true
	case v.Has("wf") && !v.Has("dp"):
		return true
	case !v.Shared || !v.Has("mw"):
		return false
	}
	return !Within(v.Path, data) || v.Deleted
}

// Within reports whether path lies in one of the directories, or is one of them.
func Within(path string, dirs []string) bool {
	for _, d := range dirs {
		if path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/") {
			return true
		}
	}
	return false
}

// readPiece is how much is read before the limit of the pause is looked at:
// about a millisecond's worth.
const readPiece = 4 << 20

// makeRoom provides for readRegions what it will copy to: to get a page takes longer
// than to fill it.
func (p *Process) makeRoom() {
	p.room = map[uint64][]byte{}
	var total uint64
	for _, v := range p.Maps {
		size := v.End - v.Start
		if !NeedsBytes(v, p.Member.Data) {
			continue
		}
		if total += size; total > kobj.MaxMemory {
			return // readRegions says so
		}
		room := make([]byte, size)
		for at := 0; at < len(room); at += os.Getpagesize() {
			room[at] = 0
		}
		p.room[v.Start] = room
	}
}

// readRegions copies the mappings that need it, within the limit.
func (p *Process) readRegions(limit tracee.Limit) error {
	var total uint64
	for _, v := range p.Maps {
		if !NeedsBytes(v, p.Member.Data) {
			continue
		}
		size := v.End - v.Start
		if total += size; total > kobj.MaxMemory {
			return fmt.Errorf("mapping %#x %s: shared memory of more than %d MiB", v.Start, v.Path, kobj.MaxMemory>>20)
		}
		data := p.room[v.Start]
		if uint64(len(data)) != size {
			data = make([]byte, size)
		}
		for at := uint64(0); at < size; at += readPiece {
			if err := limit.Err(); err != nil {
				return fmt.Errorf("mapping %s: %w", v.Path, err)
			}
			if err := p.Origin.Read(tracee.Addr(v.Start+at), data[at:min(at+readPiece, size)]); err != nil {
				return fmt.Errorf("mapping %s: %w", v.Path, err)
			}
		}
		p.Regions = append(p.Regions, Region{v, data})
	}
	return nil
}

// checkMaps replaces the list of mappings by the seed's, which is that of the
// pause, and makes sure that no region appeared whose bytes were not read.
func (p *Process) checkMaps() error {
	now, err := procfs.Smaps(p.Seed.PID)
	if err != nil {
		return err
	}
	have := map[uint64]bool{}
	for _, r := range p.Regions {
		have[r.VMA.Start] = true
	}
	for _, v := range now {
		if v.Shared && NeedsBytes(v, p.Member.Data) && !have[v.Start] {
			return fmt.Errorf("mapping %#x %s appeared just before the pause; try again", v.Start, v.Path)
		}
	}
	p.Maps = now
	return nil
}
