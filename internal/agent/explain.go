//go:build linux

package agent

import (
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// explain adds to findings about processes that have ended what led to that.
func explain(r *model.Report) {
	if len(r.Trial.Events) == 0 {
		return
	}
	var tree *causal.Tree
	for i := range r.Verdict.Findings {
		f := &r.Verdict.Findings[i]
		if f.PID == 0 || f.Severity != model.Error {
			continue
		}
		if tree == nil { // seldom needed, and takes up to a second
			tree = causal.Build(&r.Trial, &r.Control)
		}
		end := tree.Ended(f.PID)
		if end == nil || end.Doer != causal.ByAction || end.Parent == 0 {
			continue
		}
		f.Evidence = append(f.Evidence, model.Evidence{Source: "cause", Text: strings.Join(tree.Way(end), " > ")})
	}
}
