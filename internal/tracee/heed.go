//go:build linux

package tracee

import "github.com/pilotexec/pilot/internal/sys"

// Heed lets go of an origin that has ended. The kernel keeps a traced thread
// until its tracer has asked for it, and tells the parent of a process nothing
// while a thread of it is kept (delay_group_leader, include/linux/sched/signal.h):
// unheeded, whoever is to restart production would learn of its end only when
// the run is over. An exec by production waits likewise.
func (o *Origin) Heed() {
	if o.helper == 0 {
		return
	}
	got, ws, err := sys.PeekWait(o.helper)
	if isGone(err) || got != 0 && !ws.Stopped() {
		_, _, _ = sys.TryWait(o.helper)
		o.helper, o.arena, o.gone = 0, 0, true
	}
}
