package report

import (
	"encoding/json"
	"io"

	"github.com/pilotexec/pilot/internal/model"
)

// JSON writes r as one indented object, which docs/report.schema.json
// describes. Lists that the schema requires are written even when they are
// empty. Events are left out: they are many, and make the context tree, which has
// an encoding of its own. r is not changed.
func JSON(w io.Writer, r *model.Report) error {
	c := *r
	c.Spec.Members = list(c.Spec.Members)
	c.Spec.Action = list(c.Spec.Action)
	c.Trial.Events, c.Control.Events = nil, nil
	c.Trial.Processes = list(c.Trial.Processes)
	c.Control.Processes = list(c.Control.Processes)
	c.Verdict.Findings = list(c.Verdict.Findings)
	c.Verdict.Effects = list(c.Verdict.Effects)
	c.Verdict.NotCovered = list(c.Verdict.NotCovered)
	c.Verdict.Differences = list(c.Verdict.Differences)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(c)
}

// list is s, or an empty list for nil.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
