//go:build linux

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/pilotexec/pilot/internal/collapse"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/plan"
)

// collapse puts the members' memory into huge pages, if that is wanted. A pause is
// possible without, so what cannot be done is only told.
func (r *run) collapse(ctx context.Context) error {
	if !r.spec.Collapse {
		return nil
	}
	began := time.Now()
	r.collapsed = &model.Collapse{}
	for i, m := range r.spec.Members {
		if m.Down() {
			continue
		}
		at, err := collapse.Candidates(m.PID)
		if err == nil && len(at) > 0 {
			r.progress("collapse", fmt.Sprintf("%s: %d huge pages, for about %v", m.Name, len(at), collapse.Time(len(at)).Round(time.Second)))
		}
		var o collapse.Outcome
		if err == nil {
			o, err = collapse.Do(ctx, m.PID, at)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.collapsed.Pages += o.Pages
		r.collapsed.Failed += o.Failed
		r.collapsed.Worst = max(r.collapsed.Worst, o.Worst)
		if err != nil {
			r.collapsed.Err = fmt.Sprintf("member %s: %v", m.Name, err)
			r.progress("collapse", r.collapsed.Err)
		}
		r.facts[i].Huge += int64(o.Pages) * collapse.Size
	}
	r.collapsed.Duration = time.Since(began)
	r.predicted = plan.PredictAll(r.facts)
	return nil
}

// collapsible tells what [collapse] would do to a member, and what it would save.
func collapsible(f plan.ProcessFacts) *model.Collapse {
	at, err := collapse.Candidates(f.Member.PID)
	if err != nil || len(at) == 0 {
		return nil
	}
	before := plan.Predict(f)
	f.Huge += int64(len(at)) * collapse.Size
	return &model.Collapse{
		Pages: len(at), Duration: collapse.Time(len(at)), Worst: collapse.Wait,
		Saves: before.Total - plan.Predict(f).Total,
	}
}
