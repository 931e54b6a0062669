//go:build linux

package agent

import (
	"errors"

	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
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

// runningFacts are those of members that are not down.
func runningFacts(all []facts) (running []plan.ProcessFacts) {
	for _, f := range all {
		if !f.Member.Down() {
			running = append(running, f.ProcessFacts)
		}
	}
	return running
}

// readFilters reads the seccomp filters, for which each thread must stop for
// some microseconds. A process that is refused anyhow is left alone.
func (f *facts) readFilters() {
	if f.TracerPID != 0 || f.ParentPID == f.AgentPID || f.Seccomp == 1 {
		return
	}
	tracer := osthread.New()
	defer tracer.Close()
	var got tracee.Filtering
	err := tracer.Do(func() (err error) {
		got, err = tracee.Filters(f.Member.PID)
		return err
	})
	f.Filtering = plan.Filtering{Denied: got.Denied, Unlike: got.Unlike, Supervised: got.Supervised}
	if err != nil && !errors.Is(err, tracee.ErrGone) {
		f.Filtering.Err = err.Error()
	}
}
