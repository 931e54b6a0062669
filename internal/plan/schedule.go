package plan

import "github.com/pilotexec/pilot/internal/model"

// Policies of sched(7), and the class of ioprio_set(2), that come before all
// others, whatever these have waited for.
const (
	policyOther    = 0
	policyFIFO     = 1
	policyRR       = 2
	policyDeadline = 6

	ioClassShift = 13
	ioRealtime   = 1
	ioBestEffort = 2
)

// Service is how the kernel serves a thread, as far as it is degraded.
type Service struct {
	Policy, Nice, Priority int
	IO                     int // class<<13 | level
}

// Degrade returns how a phantom's thread is served: as its origin's is, but
// never with real-time priority, by which it could take processors and disks
// away from production.
func Degrade(s Service) (Service, bool) {
	was := s
	switch s.Policy {
	case policyFIFO, policyRR, policyDeadline:
		s.Policy, s.Nice, s.Priority = policyOther, 0, 0
	}
	if s.IO>>ioClassShift == ioRealtime {
		s.IO = ioBestEffort<<ioClassShift | s.IO&(1<<ioClassShift-1)
	}
	return s, s != was
}

// RealtimeGap says what Degrade has done to threads of a member.
func RealtimeGap(member string) model.Gap {
	return model.Gap{
		Member: member, Object: "real-time priority",
		Detail: "threads that have it in production run with ordinary priority, so that they take nothing from production",
	}
}
