package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/loglines"
	"github.com/pilotexec/pilot/internal/model"
)

func exitMarks(s scale, e *model.Exit, stop time.Duration, what string) []mark {
	switch {
	case e == nil:
		return nil
	case e.OK():
		return []mark{{X: s.x(stop), Class: "exit", Sign: "│", Title: "ends: " + what, sortsAt: stop}}
	}
	return []mark{{X: s.x(stop), Class: "exit bad", Sign: "✕", Title: "ends: " + what, sortsAt: stop}}
}

func attemptMarks(w model.World, s scale, mine func(model.Attempt) bool) (out []mark) {
	for _, a := range w.Attempts {
		if mine(a) && a.Denied() {
			text := fmt.Sprintf("%s %s by %s: %s", a.Op, a.Target, cmp.Or(clip(a.Process), "an unknown process"), a.Answer)
			out = append(out, mark{X: s.x(a.At), Class: "tried", Sign: "!", Title: text, sortsAt: a.At})
		}
	}
	return out
}

// logMarks are the errors that a member logged, as far as a run that traces
// knows when.
func logMarks(w model.World, s scale, member string) (out []mark) {
	for _, e := range w.Events {
		if e.Kind != model.EventLog || e.Member != member {
			continue
		}
		for _, entry := range loglines.Parse([]string{e.Object}) {
			if entry.Level >= loglines.Error {
				out = append(out, mark{X: s.x(e.At), Class: "log", Sign: "◆", Title: "logged: " + clip(e.Object), sortsAt: e.At})
			}
		}
	}
	return out
}

// spread moves marks that overlap up and down, so that each can be seen.
func spread(marks []mark) {
	for i := 0; i < len(marks); {
		n := 1
		for i+n < len(marks) && marks[i+n].X-marks[i+n-1].X < markWidth {
			n++
		}
		levels := []float64{0}
		switch {
		case n == 2:
			levels = []float64{-7, 7}
		case n > 2:
			levels = []float64{-9.5, 0, 9.5}
		}
		for k := range n {
			marks[i+k].Y = levels[k%len(levels)]
		}
		i += n
	}
}

// thinned drops marks that would lie on one of their kind.
func thinned(marks []mark) []mark {
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.sortsAt, b.sortsAt) })
	last := map[string]float64{}
	return slices.DeleteFunc(marks, func(m mark) bool {
		x, seen := last[m.Class]
		if seen && m.X-x < crowded {
			return true
		}
		last[m.Class] = m.X
		return false
	})
}
