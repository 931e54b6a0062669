package plan

import (
	"fmt"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
)

// Capabilities that decisions are made on, by their numbers in
// include/uapi/linux/capability.h.
const (
	capSysPtrace = 19
	capSysAdmin  = 21
)

// Credentials are a thread's, as credentials(7) has them.
type Credentials struct {
	TID        int
	UIDs       []int // real, effective, saved, file system
	GIDs       []int // likewise
	Groups     []int
	CapEff     uint64
	NoNewPrivs bool
}

// entersAny reports whether a process with c may enter a user namespace that
// another user owns. Besides CAP_SYS_ADMIN that takes the right to look at the
// process by which the namespace is named (kernel/nsproxy.c, validate_nsset).
func (c Credentials) entersAny() bool {
	const both = 1<<capSysAdmin | 1<<capSysPtrace
	return c.CapEff&both == both
}

// effective returns the user that namespaces which the thread makes belong to.
func (c Credentials) effective() int {
	if len(c.UIDs) < 2 {
		return 0
	}
	return c.UIDs[1]
}

// refuseCredentials wants all threads to have one user: in a world they are
// cloned from the first one. Capabilities may differ.
func (f ProcessFacts) refuseCredentials(refuse refuseFunc) {
	for _, c := range f.Credentials {
		lead := f.Credentials[0]
		if !slices.Equal(c.UIDs, lead.UIDs) || !slices.Equal(c.GIDs, lead.GIDs) || !slices.Equal(c.Groups, lead.Groups) {
			refuse(fmt.Sprintf("thread %d", c.TID), fmt.Sprintf("uid %d", c.effective()), "has another user or other groups than the first thread", "")
			return
		}
	}
}

// WorldOwner returns the user that shall own the user namespace of a world with
// these processes, and refuses those that could then not enter.
//
// A process without capabilities may enter a namespace that its own effective
// user owns, user_namespaces(7), and no other. A namespace has one owner, and
// all members need the same network, so that all without capabilities must
// have one user.
func WorldOwner(all []ProcessFacts) (owner int, refusals []model.Refusal) {
	var first *ProcessFacts
	for i := range all {
		f := &all[i]
		if len(f.Credentials) == 0 || f.Credentials[0].entersAny() {
			continue
		}
		uid := f.Credentials[0].effective()
		if first == nil {
			first, owner = f, uid
		}
		if uid != owner {
			refusals = append(refusals, model.Refusal{
				Member: f.Member.Name, PID: f.Member.PID, Object: "process", Kind: fmt.Sprintf("uid %d", uid),
				Why: fmt.Sprintf("cannot enter the world of %s, which uid %d owns: a network namespace has one owner, and neither has capabilities",
					first.Member.Name, owner),
				Hint: "pilot members of one user, or of one user and root, at a time",
			})
		}
	}
	if first == nil && len(all) > 0 && all[0].Container != (Container{}) && len(all[0].Credentials) > 0 {
		// The agent's root may have no number in there.
		owner = all[0].Credentials[0].effective()
	}
	return owner, refusals
}
