//go:build linux

package trace

import (
	"encoding/binary"
	"fmt"

	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/unwind"
)

// goroutines tells the programs how to find the goroutines of a process, if it
// has such. What cannot be found out is not told.
func (r *Recording) goroutines(hostPID int) {
	if r.t.level != Full {
		return
	}
	exe := fmt.Sprintf("/proc/%d/exe", hostPID)
	fi, err := sys.Stat(exe)
	if err != nil {
		return
	}
	key := fileID{fi.Dev, fi.Ino}
	g, known := r.programs[key]
	if !known {
		g, _, _ = unwind.GoroutinesOf(exe)
		r.programs[key] = g
	}
	if g.ID == 0 {
		_ = r.t.maps.tasks.Delete(uint32(hostPID))
		return
	}
	_ = r.t.maps.tasks.Put(uint32(hostPID), g)
}

// maker says what started the goroutine of a record: which one, and where.
func (r *Recording) maker(rec *record) string {
	if rec.start == 0 || rec.task == 1 { // which the program began with
		return ""
	}
	at := "somewhere"
	if names := r.named(rec.hostPID, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, rec.start), rec.start)); len(names) == 2 {
		at = names[1] // as a return address
	}
	if rec.parent == 0 {
		return at
	}
	return fmt.Sprintf("goroutine %d at %s", rec.parent, at)
}
