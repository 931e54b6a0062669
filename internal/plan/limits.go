package plan

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// Room is what the host has left.
type Room struct {
	Memory, MemoryTotal int64 // bytes, available and in all
	// Disk is what is free where the run keeps its files, in bytes.
	Disk, DiskTotal int64
}

const mebibyte = 1 << 20

// Floors: what must stay available on the host. Below it worlds are ended.
const (
	mostFloorMemory = 512 * mebibyte
	mostFloorDisk   = 256 * mebibyte
)

// MemoryFloor is a twentieth of the host's memory, at most 512 MiB.
func (r Room) MemoryFloor() int64 { return min(r.MemoryTotal/20, mostFloorMemory) }

// DiskFloor is a hundredth of the file system, at most 256 MiB.
func (r Room) DiskFloor() int64 { return min(r.DiskTotal/100, mostFloorDisk) }

// mostDisk is the default of what a world may write where the disk is large.
const mostDisk = 4 << 30

// The pressures, in per cent, at which worlds are ended when none are given.
const (
	DefaultMemoryPressure = 10
	DefaultIOPressure     = 90
)

// Limits fills in what was not asked for. All worlds that live at the same time
// may together take half of what is available. No world is given so little that it
// could not be made.
func Limits(l model.Limits, r Room, worlds int) model.Limits {
	share := int64(2 * worlds)
	if l.MaxMemory == 0 {
		l.MaxMemory = max(r.Memory/share, mebibyte)
	}
	if l.MaxDisk == 0 {
		l.MaxDisk = max(min(r.Disk/share, mostDisk), mebibyte)
	}
	if l.MaxMemoryPressure == 0 {
		l.MaxMemoryPressure = DefaultMemoryPressure
	}
	if l.MaxIOPressure == 0 {
		l.MaxIOPressure = DefaultIOPressure
	}
	return l
}

// What a world takes besides the pages of its phantoms: its init with a shim or
// two, page tables, kernel objects. Small processes were seen to take 1 to 6 MiB.
const worldOverhead = 16 * mebibyte

// dirtyShare is which part of its written memory a process is taken to write
// while a snapshot lives: one in dirtyShare pages. See docs/design/limits.md.
const dirtyShare = 4

// WorldMemory estimates what a world of these processes takes: its share of the
// memory that their origins have written, all that is copied byte by byte, and
// the overhead.
func WorldMemory(all []ProcessFacts) int64 {
	need := int64(worldOverhead)
	for _, f := range all {
		need += f.Written/dirtyShare + f.copiedBytes()
	}
	return need
}

// ownCopies is what production takes itself while a snapshot lives: the pages
// that it writes, which are the seed's as well, and the seed's page tables. The
// kernel charges both to production's group: 8 bytes for a page of 4 KiB.
// It lives for so many rounds, and comes to write all of its memory in time.
func (f ProcessFacts) ownCopies(rounds int) int64 {
	return f.Written/int64(max(1, dirtyShare/max(1, rounds))) + f.Resident/512
}

// copiedBytes is the memory that is copied in the pause.
func (f ProcessFacts) copiedBytes() (n int64) {
	for _, m := range f.Mappings {
		if m.copied(f.Member.Data) {
			n += int64(m.End - m.Start)
		}
	}
	return n
}

// RefuseRoom refuses a run that the host, or the groups that production is in,
// have no room for. l is complete, worlds is how many live at the same time, and
// rounds is how often there are such.
func RefuseRoom(all []ProcessFacts, l model.Limits, r Room, worlds, rounds int) (refusals []model.Refusal) {
	world := WorldMemory(all)
	var production int64
	for _, f := range all {
		production += f.ownCopies(rounds)
	}
	need := int64(worlds)*world + production + r.MemoryFloor()
	if r.Memory < need {
		refusals = append(refusals, model.Refusal{
			Object: "memory", Kind: "free memory",
			Why: fmt.Sprintf("%s are available, and %s worlds may need %s (%s each, %s for production's own copies, %s stay free)",
				Size(r.Memory), number(worlds), Size(need), Size(world), Size(production), Size(r.MemoryFloor())),
			Hint: "free memory, or pilot fewer members at once" + orFewer(worlds),
		})
	}
	if l.MaxMemory < world {
		refusals = append(refusals, model.Refusal{
			Object: "memory", Kind: "limit",
			Why:  fmt.Sprintf("a world may take %s, and may need %s", Size(l.MaxMemory), Size(world)),
			Hint: "raise --max-memory to at least " + Size(world),
		})
	}
	if need := int64(worlds)*l.MaxDisk + r.DiskFloor(); r.Disk < need {
		refusals = append(refusals, model.Refusal{
			Object: "disk", Kind: "free space",
			Why: fmt.Sprintf("%s are free where worlds are kept, and %s worlds may need %s (%s each, %s stay free)",
				Size(r.Disk), number(worlds), Size(need), Size(l.MaxDisk), Size(r.DiskFloor())),
			Hint: "free space, lower --max-disk, or set XDG_STATE_HOME to a directory on a larger file system",
		})
	}
	for _, f := range all {
		if own := f.ownCopies(rounds); f.Headroom < own {
			refusals = append(refusals, model.Refusal{
				Member: f.Member.Name, PID: f.Member.PID, Object: "cgroup " + f.Narrow, Kind: "memory limit",
				Why: fmt.Sprintf("leaves it %s, and while a snapshot lives it may need %s more for its own copies of pages",
					Size(f.Headroom), Size(own)),
				Hint: "raise the limit of that group",
			})
		}
	}
	return refusals
}

// number is how many worlds there are, for people.
func number(worlds int) string {
	if worlds == 2 {
		return "two"
	}
	return fmt.Sprint(worlds)
}

// orFewer is what helps where there are more worlds than a run needs.
func orFewer(worlds int) string {
	if worlds == 2 {
		return ""
	}
	return ", or compare fewer actions"
}

// Size writes a number of bytes for people.
func Size(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/mebibyte)
}
