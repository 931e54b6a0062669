package verdict

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// blocked judges what was tried in the trial and would have left the world.
//
// What was denied there, and not tried in the control, leaves the verdict open:
// nobody knows what would have come of it. What the members do in both worlds is
// not the recovery's doing. A peer with which runs are refused must not be tried
// in either.
func blocked(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, w := range []model.World{o.Trial, o.Control} {
		for _, a := range folded(w) {
			if a.Answer == model.AnswerRefused {
				f := blockedFinding(a)
				f.Rule = "peer-refused"
				f.Message += fmt.Sprintf(" in the %s; no run may touch it, so this one was ended", w.Name)
				found = append(found, f)
			}
		}
	}
	control := folded(o.Control)
	for _, a := range folded(o.Trial) {
		if !a.Denied() || a.Answer == model.AnswerRefused || byCheck(o.Trial, a) {
			continue
		}
		f := blockedFinding(a)
		switch {
		case background(control, a):
			f.Severity, f.Control = model.Warning, "tried there too"
		case optional(a):
			f.Severity = model.Warning
		}
		found = append(found, f)
	}
	return found
}

// deprived reports whether something was denied that was tried in the trial
// alone: what failed there may have failed for want of it.
func deprived(o model.Observation) bool {
	control := folded(o.Control)
	for _, a := range folded(o.Trial) {
		if a.Denied() && !byCheck(o.Trial, a) && !background(control, a) && !optional(a) {
			return true
		}
	}
	return false
}

// optional tells calls that programs make to see whether they may: they do
// without where a kernel or a container forbids them, and so they do here.
func optional(a model.Attempt) bool {
	switch a.Op {
	case "add_key", "bpf", "io_uring_setup", "keyctl", "perf_event_open", "request_key", "userfaultfd":
		return a.By == "seccomp"
	}
	return false
}

// refused reports whether a world tried a peer with which runs are refused.
func refused(o model.Observation) bool {
	for _, w := range []model.World{o.Trial, o.Control} {
		for _, a := range w.Attempts {
			if a.Answer == model.AnswerRefused {
				return true
			}
		}
	}
	return false
}

// attemptKey is what makes attempts of two worlds, or of several processes, the
// same. The answer is none of it: what is stubbed there is not denied here.
type attemptKey struct{ who, op, target, answer string }

func keyOf(a model.Attempt) attemptKey {
	who := a.Process
	if a.Member != "" {
		who = "member " + a.Member
	}
	return attemptKey{who, a.Op, a.Target, a.Answer}
}

// folded makes one of the attempts that processes with one command line repeat.
func folded(w model.World) (out []model.Attempt) {
	at := map[attemptKey]int{}
	for _, a := range w.Attempts {
		i, known := at[keyOf(a)]
		if !known {
			at[keyOf(a)] = len(out)
			out = append(out, a)
			continue
		}
		out[i].Count += a.Count
		if len(out[i].Stack) == 0 {
			out[i].Stack = a.Stack
		}
	}
	return out
}

// background reports whether a was tried in the control as well. A process that
// is not known there may have been a member's, and not what the action started.
func background(control []model.Attempt, a model.Attempt) bool {
	for _, c := range control {
		same, other := keyOf(c), keyOf(a)
		if same == other {
			return true
		}
		unknown := c.PID == 0 && a.Member != "" || a.PID == 0 && c.Member != ""
		if same.who, other.who = "", ""; unknown && same == other {
			return true
		}
	}
	return false
}

// byCheck reports whether a check made the attempt.
func byCheck(w model.World, a model.Attempt) bool {
	for _, p := range w.Processes {
		if p.PID == a.PID && a.PID != 0 && cause(w, p) == model.CauseCheck {
			return true
		}
	}
	return false
}

func blockedFinding(a model.Attempt) model.Finding {
	f := model.Finding{Rule: "blocked", Severity: model.Unproven, Member: a.Member, PID: a.PID,
		Message: fmt.Sprintf("%s tried to %s", attempter(a), deed(a)),
		Control: "not tried there"}
	what := fmt.Sprintf("%s at %s", times(a.Count), round(a.At))
	if a.Process != "" {
		what = fmt.Sprintf("%s: %s", clip(a.Process), what)
	}
	if a.Answer != "" {
		what += fmt.Sprintf(", %s by %s", a.Answer, a.By)
	}
	f.Evidence = []model.Evidence{{Source: "attempt", Text: what}}
	for _, frame := range a.Stack[:min(len(a.Stack), maxQuotes)] {
		f.Evidence = append(f.Evidence, model.Evidence{Source: "stack", Text: clip(frame)})
	}
	return f
}

// attempter is what to call the process behind a.
func attempter(a model.Attempt) string {
	program, _, _ := strings.Cut(a.Process, " ")
	switch {
	case a.Member != "":
		return a.Member
	case program != "":
		return filepath.Base(program)
	case a.PID != 0:
		return fmt.Sprintf("pid %d", a.PID)
	default:
		return "an unknown process"
	}
}

// deed is what a tried, behind "tried to".
func deed(a model.Attempt) string {
	switch {
	case a.Op == "connect", a.Op == "send":
		return fmt.Sprintf("%s to %s, outside of the world", a.Op, a.Target)
	case a.Op == "resolve":
		return fmt.Sprintf("resolve %s, outside of the world", a.Target)
	case isNetwork(a):
		return fmt.Sprintf("use %s with %s, outside of the world", a.Op, a.Target)
	case a.Target != "":
		return fmt.Sprintf("call %s on %s", a.Op, a.Target)
	default:
		return "call " + a.Op
	}
}

// isNetwork tells attempts to reach a peer from system calls.
func isNetwork(a model.Attempt) bool {
	return a.By == "network" || a.By == "policy" || a.Op == "connect" || a.Op == "send" || a.Op == "resolve"
}

func times(n int) string {
	if n == 1 {
		return "once,"
	}
	return fmt.Sprintf("%d times, first", n)
}

// attemptEffects lists what the action tried, or made members try, beyond the
// world: denied or not.
func attemptEffects(o model.Observation) (list []model.Effect) {
	control := folded(o.Control)
	for _, a := range folded(o.Trial) {
		if byCheck(o.Trial, a) || background(control, a) {
			continue
		}
		e := model.Effect{Sign: "!", Kind: "network", Object: a.Target, Member: a.Member}
		if !isNetwork(a) {
			e.Kind = "call"
		}
		e.Detail = a.Op
		if e.Object == "" {
			e.Object, e.Detail = a.Op, "called"
		}
		if a.Member == "" {
			e.Detail += " by " + attempter(a)
		}
		if a.PID != 0 {
			e.Detail += fmt.Sprintf(", pid %d", a.PID)
		}
		if a.Count > 1 {
			e.Detail += fmt.Sprintf(", %d times", a.Count)
		}
		if a.Answer != "" {
			e.Detail += ": " + a.Answer
		}
		list = append(list, e)
	}
	return list
}
