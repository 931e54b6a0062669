package verdict

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// phantoms judges the processes that were forked from production and ended.
//
// One that ended only in the trial was ended by the action: an error, unless it
// was stopped on purpose and another took its place, or was a mere child of a
// member. One that ended in the
// control was ended by the fork itself, so that nothing can be said.
func phantoms(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, p := range o.Trial.Processes {
		if p.Phantom && p.Exit != nil && !(p.Exit.Signal == "SIGKILL" && byPilot(o, p.PID, model.InjuryKill)) {
			found = append(found, lost(o, p))
		}
	}
	for _, c := range o.Control.Processes {
		if !c.Phantom || c.Exit == nil {
			continue
		}
		if t := phantom(o.Trial, c.PID); t == nil || t.Exit == nil {
			found = append(found, lostInControl(o, c))
		}
	}
	return found
}

// lost judges phantom p, which ended in the trial.
func lost(o model.Observation, p model.Process) model.Finding {
	f := model.Finding{Rule: "member-lost", Severity: model.Error, Member: p.Member, PID: p.PID,
		Message:  fmt.Sprintf("%s %s%s", name(p), how(p.Exit), when(o, p.Exit)),
		Evidence: exitEvidence(o, p)}
	c := phantom(o.Control, p.PID)
	if c != nil && c.Exit != nil {
		return lostInBoth(o, f, p, *c)
	}
	f.Control = "still ran"
	if c == nil {
		f.Control = "not seen there"
	}
	if gaveUp(p.Output) || !stopped(p.Exit) {
		return f
	}
	if r := replacement(o, p); r != nil {
		f.Rule, f.Severity = "member-replaced", model.Info
		f.Message += fmt.Sprintf("; pid %d took its place", r.PID)
		return f
	}
	if !isMember(o.Spec, p.PID) {
		f.Rule, f.Severity = "child-ended", model.Warning
	}
	return f
}

// lostInBoth completes f for phantom p, which ended in the control as c.
func lostInBoth(o model.Observation, f model.Finding, p, c model.Process) model.Finding {
	f.Control = "lost there too: it " + how(c.Exit)
	if !isMember(o.Spec, p.PID) && p.Exit.OK() && c.Exit.OK() {
		f.Rule, f.Severity = "child-ended", model.Info
		return f
	}
	f.Severity = model.Unproven
	f.Message += ", but the control lost it too; the fork itself is suspect"
	return f
}

// lostInControl judges phantom c, which ended in the control alone.
func lostInControl(o model.Observation, c model.Process) model.Finding {
	f := model.Finding{Rule: "control-lost", Severity: model.Unproven, Member: c.Member, PID: c.PID,
		Message:  fmt.Sprintf("%s %s in the control, where nothing was done; the fork itself is suspect", name(c), how(c.Exit)),
		Evidence: quote("log", c.Output),
		Control:  how(c.Exit)}
	if !isMember(o.Spec, c.PID) && c.Exit.OK() {
		f.Rule, f.Severity = "child-ended", model.Info
		f.Message = fmt.Sprintf("%s ended in the control, not in the trial", name(c))
	}
	return f
}

// phantom returns the phantom with pid, or nil.
func phantom(w model.World, pid int) *model.Process {
	for i, p := range w.Processes {
		if p.Phantom && p.PID == pid {
			return &w.Processes[i]
		}
	}
	return nil
}

// isMember reports whether pid is a member itself rather than a child of one.
func isMember(s model.Spec, pid int) bool {
	return slices.ContainsFunc(s.Members, func(m model.Member) bool { return m.PID == pid })
}

// replacement returns a process of w that was started later than p, runs at
// the end, and does p's work: a node of the same member, or with the same arguments.
func replacement(o model.Observation, p model.Process) *model.Process {
	for i, r := range o.Trial.Processes {
		if r.Phantom || r.Exit != nil || r.Started <= p.Started {
			continue
		}
		if p.Member != "" && r.Member == p.Member && server(o.Spec, r) || sameCommand(p, r) {
			return &o.Trial.Processes[i]
		}
	}
	return nil
}

// sameCommand reports whether r was started as p was, or calls itself by the same
// title, as Redis does by its address.
func sameCommand(p, r model.Process) bool {
	if len(p.Args) == 0 {
		return false
	}
	return slices.Equal(r.Args, p.Args) || r.Title != "" && sameTitle(r.Title, strings.TrimSpace(strings.Join(p.Args, " ")))
}

// sameTitle compares titles without the directory of the program.
func sameTitle(a, b string) bool {
	program := func(title string) string {
		first, rest, _ := strings.Cut(title, " ")
		return filepath.Base(first) + " " + rest
	}
	return program(a) == program(b)
}
