package plan

import (
	"fmt"
	"slices"
	"strings"
)

// lowestTID is the least thread number that a world can give: the world's own
// init takes the first ones.
const lowestTID = 33

const shadowHint = "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"

type refuseFunc func(object, kind, why, hint string)

func (f ProcessFacts) refuseProcess(refuse refuseFunc) {
	switch { // a process that has ended has no executable either
	case strings.HasPrefix(f.State, "Z"), strings.HasPrefix(f.State, "X"):
		refuse("process", "zombie", "has ended already", "start the member, or describe it as down in pilot.yaml")
		return
	case f.KernelTask:
		refuse("process", "kernel thread", "has no memory of its own", "name a process of the cluster")
		return
	}
	if f.TracerPID != 0 {
		refuse("process", "tracee", fmt.Sprintf("is traced by pid %d (%s)", f.TracerPID, f.Tracer), "detach the debugger and try again")
	}
	if f.ParentPID == f.AgentPID {
		refuse("process", "child of pilot", "was started by the process that would trace it", "start pilot as a process of its own")
	}
	f.refuseSeccomp(refuse)
	if f.Traits.Deadline {
		refuse("process", "SCHED_DEADLINE", "its lead thread may not fork", "set SCHED_FLAG_RESET_ON_FORK, or another policy")
	}
	if f.Shadow {
		refuse("process", "shadow stack", "returns cannot be redirected", shadowHint)
	}
	if f.Root != "/" && f.Root != "" {
		refuse("root "+f.Root, "chroot", "has another root directory", "")
	}
	f.refuseForeign(refuse)
	f.refuseCredentials(refuse)
	if f.Container != (Container{}) {
		return // it has numbers for itself
	}
	if low := slices.Min(append(slices.Clone(f.TIDs), lowestTID)); low < lowestTID {
		refuse("thread", fmt.Sprintf("tid %d", low), fmt.Sprintf("thread numbers below %d are taken in a world", lowestTID),
			"restart the member, so that it gets higher numbers")
	}
}
