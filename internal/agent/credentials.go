//go:build linux

package agent

import (
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
)

// credentials reads who each thread is. Threads that ended meanwhile are left
// out; tids begins with the leader's, whose number is the least as a rule.
func credentials(pid int, tids []int) (out []plan.Credentials) {
	for _, tid := range tids {
		s, err := procfs.ReadTaskStatus(pid, tid)
		if err != nil {
			continue
		}
		c := plan.Credentials{
			TID: tid, UIDs: s.UIDs, GIDs: s.GIDs, Groups: s.Groups,
			CapEff: s.CapEff, NoNewPrivs: s.NoNewPrivs,
		}
		out = append(out, c)
		if last := len(out) - 1; tid == pid {
			out[0], out[last] = out[last], out[0]
		}
	}
	return out
}

// owner decides across the members that run who is to own their worlds.
func owner(all []facts) (uid int, refusals []model.Refusal) {
	var running []plan.ProcessFacts
	for _, f := range all {
		if !f.Member.Down() {
			running = append(running, f.ProcessFacts)
		}
	}
	return plan.WorldOwner(running)
}
