package plan

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// A Container is what keeps a process's numbers apart: the numbers that identify
// its namespaces of processes and users. The zero value means that both are the
// agent's.
type Container struct{ PID, User uint64 }

// Containers refuses members that are not all in the container of the first: a
// world has one set of process numbers and of users.
func Containers(all []ProcessFacts) (refusals []model.Refusal) {
	var first *ProcessFacts
	for i := range all {
		f := &all[i]
		switch {
		case f.Member.Down():
			continue
		case first == nil:
			first = f
		}
		if f.Container == first.Container {
			continue
		}
		kind := "pid"
		if f.Container.PID == first.Container.PID {
			kind = "user"
		}
		refusals = append(refusals, model.Refusal{
			Member: f.Member.Name, PID: f.Member.PID, Object: "namespace", Kind: kind,
			Why: fmt.Sprintf("is in another %s namespace than %s, as number %d: a world has one set of process numbers and of users",
				kind, first.Member.Name, f.Number),
			Hint: "pilot the members of one container at a time",
		})
	}
	return refusals
}

// Within returns a process of the container that a world owned by uid is to be
// made in, by its number in the agent's pid namespace; 0 when that is no
// container.
func Within(all []ProcessFacts, uid int) int {
	for _, f := range all {
		if f.Container != (Container{}) && len(f.Credentials) > 0 && f.Credentials[0].effective() == uid {
			return f.Member.PID
		}
	}
	return 0
}
