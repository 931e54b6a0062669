//go:build linux

package agent

import (
	"context"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
)

// attend lets users act on the run, see [live.Steer], until leave is called. The
// guard must be there, and not have been halted before leave.
func (r *run) attend(ctx context.Context) (leave func()) {
	steer := live.From(ctx)
	steer.Attend(live.Hands{
		Abandon: func() { r.guard.abandon("ended by the user, before the action") },
		Worlds:  r.guard.alive,
	})
	return steer.Leave
}

// alive lists the worlds that were not ended.
func (g *guard) alive() (worlds []live.World) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range g.wards {
		if v.why != "" || v.world.Closing() {
			continue
		}
		processes, _ := v.group.Processes()
		use, _ := v.group.Usage() // 0 where it is not counted
		worlds = append(worlds, live.World{Name: v.world.Name, Processes: len(processes), Memory: use.Memory})
	}
	return worlds
}

// stopped reports whether the user has ended the run while the action went on.
func stopped(ctx context.Context) bool { return live.From(ctx).Steered().Stopped != "" }

// perform runs the action: a command, or a shell that the user types to.
func (r *round) perform(ctx context.Context, s *side) model.CommandResult {
	if r.spec.Shell {
		if user := live.From(ctx).Terminal(); user != nil {
			return s.watch.Shell(ctx, user, s.action, r.spec.Env, r.spec.Dir)
		}
		return model.CommandResult{Err: "there is no terminal"}
	}
	return s.watch.Run(ctx, "action", s.action, r.spec.Env, r.spec.Dir, false)
}
