package verdict

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// name is what to call p: its member, else its program.
func name(p model.Process) string {
	switch {
	case p.Member != "":
		return p.Member
	case len(p.Args) > 0:
		return filepath.Base(p.Args[0])
	default:
		return fmt.Sprintf("pid %d", p.PID)
	}
}

// commandLine is args as one short line.
func commandLine(args []string) string {
	const limit = 120
	line := strings.Join(args, " ")
	if r := []rune(line); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return line
}

// cause says who started p: as the observer saw it, else by p's ancestors.
func cause(w model.World, p model.Process) string {
	if p.Cause != "" || p.Phantom {
		return p.Cause
	}
	parents := map[int]model.Process{}
	for _, q := range w.Processes {
		parents[q.PID] = q
	}
	for range w.Processes { // at most: a reused pid could close a circle
		if isAction(w, p) {
			return model.CauseAction
		}
		parent, ok := parents[p.Parent]
		switch {
		case ok && parent.Phantom:
			return model.CausePhantom
		case ok && parent.Cause != "":
			return parent.Cause
		case w.Action != nil && w.Action.PID != 0 && p.Parent == w.Action.PID:
			return model.CauseAction
		case !ok:
			return ""
		}
		p = parent
	}
	return ""
}

// isAction reports whether p is the action's own process.
func isAction(w model.World, p model.Process) bool {
	return !p.Phantom && w.Action != nil && w.Action.PID != 0 && p.PID == w.Action.PID
}

// children returns the processes that were started in w by the action or by
// phantoms, without the action itself and without checks.
func children(w model.World) []model.Process {
	var found []model.Process
	for _, p := range w.Processes {
		if !p.Phantom && !isAction(w, p) && cause(w, p) != model.CauseCheck {
			found = append(found, p)
		}
	}
	return found
}

// interpreters are programs whose name does not tell what they run.
var interpreters = []string{"java", "python", "python3", "node", "ruby", "perl", "php", "erl", "beam.smp", "dotnet"}

// launchers run anything, so that not even a member's directory among their
// arguments makes them a node.
var launchers = []string{"sh", "bash", "dash", "zsh", "busybox", "env", "sudo", "su", "setsid", "nohup", "timeout"}

// server reports whether p is a node of the cluster rather than a tool: it has
// a member's arguments, or runs a member's program. Of an interpreter that is
// only said when the observer attributed it to a member. The attribution alone
// is not enough, since rm and mkdir name a member's directory as well.
func server(s model.Spec, p model.Process) bool {
	if len(p.Args) == 0 {
		return p.Member != ""
	}
	program := filepath.Base(p.Args[0])
	for _, m := range s.Members {
		if slices.Equal(m.Args, p.Args) {
			return true
		}
		if slices.Contains(launchers, program) || slices.Contains(interpreters, program) && p.Member == "" {
			continue
		}
		if m.Exe != "" && filepath.Base(m.Exe) == program || len(m.Args) > 0 && filepath.Base(m.Args[0]) == program {
			return true
		}
	}
	return false
}

// exitEvidence quotes how p ended and what it said last. A process without
// output of its own may have written to the action's.
func exitEvidence(o model.Observation, p model.Process) []model.Evidence {
	evidence := []model.Evidence{{Source: "exit", Text: fmt.Sprintf("pid %d %s at %s", p.PID, how(p.Exit), round(p.Exit.At))}}
	if len(p.Args) > 0 {
		evidence[0].Text += ": " + commandLine(p.Args)
	}
	if said := last(p.Output); len(said) > 0 {
		return append(append(evidence, quote("log", p.Output)...), place(p.Output)...)
	}
	if a := o.Trial.Action; a != nil && !p.Phantom {
		if crash := pick(lines(a.Output), crashLine); len(crash) > 0 {
			return append(evidence, quote("action output", crash)...)
		}
	}
	return evidence
}
