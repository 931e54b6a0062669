package verdict

import (
	"fmt"
	"strconv"

	"github.com/pilotexec/pilot/internal/model"
)

// differences compares the two worlds, one row per check and per count.
func differences(o model.Observation) []model.Difference {
	rows := []model.Difference{}
	for _, t := range o.Trial.Probes {
		control, want := "not run", wanted(o.Spec, t.Name)
		if c := probe(o.Control, t.Name); c != nil {
			control = beforeAfter(want, *c)
		}
		rows = append(rows, model.Difference{What: fmt.Sprintf("check %q", t.Name), Trial: beforeAfter(want, t), Control: control})
		if want.Preserve {
			rows = append(rows, preserved(t, probe(o.Control, t.Name)))
		}
		if want.NotLess {
			rows = append(rows, numberRows(t, probe(o.Control, t.Name))...)
		}
	}
	count := func(what string, of func(model.World) int) {
		rows = append(rows, model.Difference{What: what, Trial: strconv.Itoa(of(o.Trial)), Control: strconv.Itoa(of(o.Control))})
	}
	count("processes at the end", func(w model.World) int { return running(w.Processes) })
	count("processes started", func(w model.World) int { return len(children(w)) })
	count("files changed", func(w model.World) int { return len(w.Files) })
	if len(o.Trial.Logs)+len(o.Control.Logs) > 0 {
		count("errors in logs", func(w model.World) int { return messages(w.Logs, model.LogError, model.LogFatal) })
		count("warnings in logs", func(w model.World) int { return messages(w.Logs, model.LogWarning) })
	}
	if len(o.Trial.Attempts)+len(o.Control.Attempts) > 0 {
		count("attempts to leave the world", func(w model.World) int { return len(folded(w)) })
	}
	return append(rows, storeDifferences(o)...)
}

func beforeAfter(want model.Probe, p model.ProbeResult) string {
	before, after := outcome(want, p.Before), outcome(want, p.After)
	if before == after {
		return after
	}
	return before + ", then " + after
}

func running(processes []model.Process) int {
	n := 0
	for _, p := range processes {
		if p.Exit == nil {
			n++
		}
	}
	return n
}
