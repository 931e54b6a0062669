package verdict

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// Two worlds of one snapshot in which nothing is done differ too: by the scheduler,
// by timers, by chance. With a second control that shows. The trial is judged
// against each control, and the action is blamed for what holds against all.
//
//   - What a rule finds against one control and not against another is noise. It is
//     told as such, and does not count.
//   - What is graver against one than against another counts as against the mildest.
//   - Only rules that compare the trial with the control can be mistaken in that
//     way: those below. What others find against any control counts as it is: a
//     lost record, a failed action, a control that fell ill itself, a world that
//     could not be watched.

// comparing says, for each rule that asks whether the control did the same, what
// makes its findings against two controls one.
var comparing = map[string]func(model.Finding) string{
	"member-lost": byProcess, "member-replaced": byProcess, "child-ended": byProcess,
	"process-failed": byProcess, "new-member-lost": byProcess, "process-crashed": byProcess,
	"stuck": byVitals, "busy": byVitals, "swollen": byVitals, "service-gone": byVitals,
	"blocked":  byMessage,
	ruleLogged: byLog, "retry-loop": byMessage,
	"log-forbidden":     byPattern,
	"check-interrupted": byInterruption,
	"check-failed":      byCheckName, "not-mended": byCheckName, "check-healed": byCheckName, "check-repaired": byCheckName,
	"check-not-started": byCheckName, "check-starved": byCheckName, "differs": byMessage, "records-behind": byMessage,
}

func byProcess(f model.Finding) string { return fmt.Sprintf("process %s %d", f.Member, f.PID) }
func byVitals(f model.Finding) string  { return fmt.Sprintf("%s %s %d", f.Rule, f.Member, f.PID) }
func byMessage(f model.Finding) string {
	return fmt.Sprintf("%s %s %d %s", f.Rule, f.Member, f.PID, f.Message)
}

// byLog leaves out how often it was said: the message names the trial's loggers.
func byLog(f model.Finding) string {
	if len(f.Evidence) == 0 { // the rest, which is only counted
		return ruleLogged
	}
	return byMessage(f)
}

// byPattern and byInterruption leave out how often it was.
func byPattern(f model.Finding) string {
	return f.Rule + " " + f.Message[:max(0, strings.LastIndex(f.Message, ", "))]
}
func byInterruption(f model.Finding) string { return f.Rule + " " + byCheckName(f) }

// byCheckName takes the verdicts on one check for one, whatever they are.
func byCheckName(f model.Finding) string {
	rest, ok := strings.CutPrefix(f.Message, "check ")
	if !ok {
		return byMessage(f)
	}
	if name, err := strconv.QuotedPrefix(rest); err == nil {
		return "check " + name
	}
	return byMessage(f)
}

// against has the findings of all rules against one control.
func against(o model.Observation, control model.World) []model.Finding {
	o.Control, o.More = control, nil
	found := []model.Finding{}
	for _, rule := range rules {
		found = append(found, rule(o)...)
	}
	unprove(o, found)
	return found
}

// judge has the findings that hold against all controls, and the noise.
func judge(o model.Observation) (found, noise []model.Finding) {
	found = against(o, o.Control)
	if len(o.More) == 0 {
		return found, nil
	}
	all := [][]model.Finding{found}
	for _, c := range o.More {
		all = append(all, against(o, c))
	}
	found = []model.Finding{}
	seen := map[string]bool{}
	for n := range all {
		for _, f := range all[n] {
			of, compares := comparing[f.Rule]
			if !compares {
				if !holds(found, f) {
					found = append(found, f)
				}
				continue
			}
			subject := of(f)
			if seen[subject] {
				continue
			}
			seen[subject] = true
			if held, ok := mildest(all, subject, f); ok {
				found = append(found, held)
				continue
			}
			noise = append(noise, markNoise(all, subject, f))
		}
	}
	return found, noise
}

// holds reports whether found has f already, perhaps as it looked against another
// control.
func holds(found []model.Finding, f model.Finding) bool {
	return slices.ContainsFunc(found, func(g model.Finding) bool {
		return g.Rule == f.Rule && g.Severity == f.Severity && g.Member == f.Member && g.PID == f.PID && g.Message == f.Message
	})
}

// gravest is what one control makes of a subject, or nil. Where findings about
// logs were cut off it may be among the rest, so that one holds.
func gravest(found []model.Finding, subject string) (worst *model.Finding) {
	for i, f := range found {
		of, compares := comparing[f.Rule]
		if f.Rule == "check-noise" { // counts as it is, and is a milder word on the same check
			of, compares = byCheckName, true
		}
		if !compares {
			continue
		}
		same := of(f) == subject || f.Rule == ruleLogged && of(f) == ruleLogged && strings.HasPrefix(subject, ruleLogged+" ")
		if same && (worst == nil || rank(f.Severity) < rank(worst.Severity)) {
			worst = &found[i]
		}
	}
	return worst
}

// mildest is the finding about a subject that is proven against all controls, and
// false where one of them has none. f is the first of them.
func mildest(all [][]model.Finding, subject string, f model.Finding) (model.Finding, bool) {
	held, told := f, []string{}
	if g := gravest(all[0], subject); g != nil {
		held = *g
	}
	for _, found := range all {
		g := gravest(found, subject)
		if g == nil {
			return f, false
		}
		told = append(told, g.Control)
		if rank(g.Severity) > rank(held.Severity) {
			held = *g
		}
	}
	for n, text := range told {
		if text != held.Control && text != "" {
			held.Control += fmt.Sprintf("; control %d: %s", n+1, text)
		}
	}
	return held, true
}

// markNoise says against which controls a finding does not hold.
func markNoise(all [][]model.Finding, subject string, f model.Finding) model.Finding {
	var not []string
	for n, found := range all {
		if gravest(found, subject) == nil {
			not = append(not, fmt.Sprintf("control %d", n+1))
		}
	}
	if f.Control != "" {
		f.Control += "; "
	}
	f.Control += "but it does not hold against " + strings.Join(not, " and ")
	return f
}

// commonEffects are those that the trial has beyond every control.
func commonEffects(o model.Observation) []model.Effect {
	list := effects(o)
	for _, c := range o.More {
		other := o
		other.Control = c
		also := effects(other)
		list = slices.DeleteFunc(list, func(e model.Effect) bool {
			return !slices.ContainsFunc(also, func(x model.Effect) bool {
				return x.Sign == e.Sign && x.Kind == e.Kind && x.Object == e.Object && x.Member == e.Member
			})
		})
	}
	return list
}
