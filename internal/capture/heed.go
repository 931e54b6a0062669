//go:build linux

package capture

import (
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// Whoever is to restart a member must hear of its end as soon as without us. The
// kernel keeps the dead until who traces them has taken note; and number 1 of a
// container ends only when all in the container have ended and were collected,
// the seeds and worlds in it included.

// attendance is one function of a world.
type attendance struct{ heed func() (over bool) }

// Attend has heed called by each Heed: it collects what has ended of a world, and
// says whether the world has come to its end by itself. It must be called on the
// tracer's thread, as must leave, which ends the attendance.
func (s *Snapshot) Attend(heed func() (over bool)) (leave func()) {
	a := &attendance{heed}
	if s.attended == nil {
		s.attended = map[*attendance]bool{}
	}
	s.attended[a] = true
	return func() { delete(s.attended, a) }
}

// What ends with a container ends one after the other, within milliseconds.
const (
	heedTime = 500 * time.Millisecond
	heedLook = time.Millisecond
)

// Heed lets go of members that have ended. It must run on the tracer's thread,
// every now and then until Close. It reports whether worlds have ended with the
// container of the members.
func (s *Snapshot) Heed() (over bool) {
	if !s.heed() {
		return false
	}
	for deadline := time.Now().Add(heedTime); time.Now().Before(deadline); sys.Nanosleep(int64(heedLook)) {
		s.heed()
		if s.ended() {
			return true
		}
	}
	return false // only a world has
}

// ended reports whether all members have, and collects their seeds.
func (s *Snapshot) ended() bool {
	all := true
	for _, p := range s.Processes {
		all = (p.Seed == nil || p.Seed.Heed()) && p.Origin.Ended() && all
	}
	return all
}

func (s *Snapshot) heed() (over bool) {
	for _, p := range s.Processes {
		p.Origin.Heed()
	}
	for a := range s.attended {
		over = a.heed() || over
	}
	return over
}
