package plan

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// Traits are what belongs to a process as a whole, as far as its phantoms have
// it otherwise.
type Traits struct {
	// Realtime is set when a thread has real-time priority: see Degrade.
	Realtime bool
	// Deadline is set when the lead thread has the one policy whose threads
	// cannot fork, sched(7).
	Deadline bool
	// RealtimeLimit is the hard RLIMIT_RTPRIO, up to which threads may take
	// real-time priority by themselves.
	RealtimeLimit uint64
	Locked        int64 // bytes of memory that is never paged out
	Session       int
	Group         int
	Terminal      bool // it has a controlling terminal
}

// gaps lists what of the traits a world does not keep.
func (t Traits) gaps(m model.Member) (out []model.Gap) {
	gap := func(object, detail string) {
		out = append(out, model.Gap{Member: m.Name, Object: object, Detail: detail})
	}
	if t.Realtime {
		out = append(out, RealtimeGap(m.Name))
	}
	if t.RealtimeLimit > 0 {
		out = append(out, RealtimeLimitGap(m.Name, t.RealtimeLimit))
	}
	if t.Locked > 0 {
		gap("locked memory", fmt.Sprintf("%d KiB are not locked in a world: there would be twice as much", t.Locked>>10))
	}
	if t.Session != m.PID || t.Group != m.PID {
		gap("session", "in a world it leads a session and a process group of its own: signals to its group reach nobody else")
	}
	if t.Terminal {
		gap("controlling terminal", "in a world it has none")
	}
	return out
}

// RealtimeLimitGap says that a member may not take real-time priority any more.
func RealtimeLimitGap(member string, limit uint64) model.Gap {
	return model.Gap{
		Member: member, Object: "RLIMIT_RTPRIO",
		Detail: fmt.Sprintf("is 0 in a world instead of %d, so that nothing there takes real-time priority", limit),
	}
}
