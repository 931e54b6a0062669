package verdict

import (
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// started judges the processes that were started in the trial, not forked from
// production, and that ended there. Checks are judged by [probes].
//
//   - A crash, by its signal or by a runtime's last words, is an error, whoever it was.
//   - A node of the cluster, that is one that runs what a member runs, must not end other than by exit status 0. It must not end
//     at all after the action left it running.
//   - Any other process is a tool. One that ended badly before the action did
//     was the action's business, which went on: a warning. One that the action
//     left running and that ended badly later is an error.
//
// An error becomes a warning when a process with the same arguments ended the
// same way in the control, or, unless it was a crash, when another took the
// place of the one that ended.
func started(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, p := range children(o.Trial) {
		if p.Exit == nil || p.Exit.Signal == "SIGKILL" && byPilot(o, p.PID, model.InjuryKill) {
			continue
		}
		if f, ok := ended(o, p); ok {
			found = append(found, f)
		}
	}
	return fold(found)
}

// fold makes one of the warnings that a loop in the action repeats.
func fold(found []model.Finding) []model.Finding {
	var folded []model.Finding
	times, first := map[string]int{}, map[string]int{}
	for _, f := range found {
		if f.Severity != model.Warning {
			folded = append(folded, f)
			continue
		}
		if times[f.Message]++; times[f.Message] == 1 {
			first[f.Message] = len(folded)
			folded = append(folded, f)
		}
	}
	for message, n := range times {
		if n > 1 {
			folded[first[message]].Message += fmt.Sprintf(" (%d times)", n)
		}
	}
	return folded
}

// ended judges p, and reports whether there is anything to say.
func ended(o model.Observation, p model.Process) (model.Finding, bool) {
	crash := crashed(p.Exit) || !p.Exit.OK() && panicked(p.Output)
	late := p.Exit.At > actionEnd(o)
	node := server(o.Spec, p)
	if p.Exit.OK() && !(node && late) {
		return model.Finding{}, false
	}
	f := model.Finding{Rule: "process-failed", Severity: model.Warning, Member: p.Member, PID: p.PID,
		Message:  fmt.Sprintf("%s, started in the trial, %s%s", name(p), how(p.Exit), when(o, p.Exit)),
		Evidence: exitEvidence(o, p)}
	if crash || node || late {
		f.Severity = model.Error
	}
	if node {
		f.Rule = "new-member-lost"
	}
	if crash {
		f.Rule = "process-crashed"
		if words := pick(p.Output, panicLine); len(words) > 0 {
			f.Message += ": " + clip(words[0])
		}
	}
	twin := twinOf(o.Control, p)
	f.Control = twinText(twin)
	switch {
	case f.Severity != model.Error:
	case twin != nil && same(twin.Exit, p.Exit):
		f.Severity = model.Warning
	case !crash && node:
		if r := replacement(o, p); r != nil {
			f.Severity = model.Warning
			f.Message += fmt.Sprintf("; pid %d took its place", r.PID)
		}
	}
	return f, true
}

// actionEnd is when the action ended; the end of time when it did not.
func actionEnd(o model.Observation) time.Duration {
	if a := o.Trial.Action; a != nil && a.Exit != nil {
		return a.Exit.At
	}
	return 1<<63 - 1
}

// twinOf returns the process of the control that was started there with p's
// arguments; the one that ended like p if there are several.
func twinOf(control model.World, p model.Process) *model.Process {
	var found *model.Process
	for i, c := range control.Processes {
		if c.Phantom || len(c.Args) == 0 || !slices.Equal(c.Args, p.Args) {
			continue
		}
		if found == nil || same(c.Exit, p.Exit) {
			found = &control.Processes[i]
		}
	}
	return found
}

func twinText(twin *model.Process) string {
	switch {
	case twin == nil:
		return "not started there"
	case twin.Exit == nil:
		return "started there too, and still ran"
	default:
		return "started there too, and " + how(twin.Exit)
	}
}

func same(a, b *model.Exit) bool {
	return a != nil && b != nil && a.Code == b.Code && a.Signal == b.Signal
}
