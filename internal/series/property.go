package series

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	store "github.com/pilotexec/pilot/internal/records"
	"github.com/pilotexec/pilot/internal/verdict"
)

// A property is one thing about a world that is compared.
type property struct {
	name  string
	value string // for people
	// key is what counts of it. Properties without one prove nothing.
	key string
}

// same is a property that counts as it is shown.
func same(name, value string) property { return property{name, value, value} }

// properties are those of a trial beside its control, in the same order for all.
func properties(r *model.Report) []property {
	t := r.Trial
	list := []property{
		{"verdict", string(r.Verdict.Status), proven(r.Verdict.Status)},
		same("action", actionEnd(t.Action)),
		{"duration", duration(t.Action), ""},
	}
	if t.Ended != "" { // what comes after was not looked at, or is due to the end
		return append(list, property{name: theRest, value: "not seen"})
	}
	list = append(list, healthy(t.Recovery)...)
	for _, p := range t.Probes {
		text, _ := verdict.Outcome(r.Spec, p.Name, p.After)
		list = append(list, same(fmt.Sprintf("check %q", p.Name), text))
	}
	list = append(list,
		property{"errors logged", newErrors(t, r.Control), ""},
		same("processes ended", ended(r)),
		same("processes left running", left(r)),
		files(r),
		same("listening", listening(t, r.Control)),
	)
	return append(list, records(t, r.Control)...)
}

// ofControl are the same properties of the world in which nothing was done.
func ofControl(r *model.Report) []property {
	c := *r
	c.Trial = r.Control
	c.Verdict = model.Verdict{}
	list := properties(&c)
	for _, d := range verdict.Records(r.Trial, r.Control) {
		list = append(list, property{"records: " + d.What, d.Control, ""})
	}
	for i := range list {
		if name := list[i].name; name == "verdict" || name == "action" || name == "duration" {
			list[i] = property{name, "-", ""}
		}
	}
	return list
}

// theRest is the name of what stands for all properties that follow.
const theRest = ""

// kept is the key of figures that did not become smaller.
const kept = "kept"

// proven is what a verdict proves.
func proven(s model.Status) string {
	if s == model.Unknown {
		return ""
	}
	return string(s)
}

func actionEnd(a *model.CommandResult) string {
	switch {
	case a == nil:
		return "not run"
	case a.Err != "":
		return "not started"
	case a.Exit == nil:
		return "not ended"
	case a.Exit.Signal != "":
		return a.Exit.Signal
	default:
		return fmt.Sprintf("exit status %d", a.Exit.Code)
	}
}

func duration(a *model.CommandResult) string {
	if a == nil || a.Exit == nil {
		return "-"
	}
	return span(a.Duration)
}

func span(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// healthy is a property only where it was looked for.
func healthy(r *model.Recovery) []property {
	switch {
	case r == nil:
		return nil
	case r.Healthy:
		return []property{{"healthy", "after " + span(r.After), "yes"}}
	default:
		return []property{{"healthy", "not within " + span(r.After), "no"}}
	}
}

// newErrors counts the kinds of errors that the control has not logged.
func newErrors(t, control model.World) string {
	isError := func(g model.LogGroup) bool { return g.Level == model.LogError || g.Level == model.LogFatal }
	var templates []string
	for _, g := range t.Logs {
		there := slices.ContainsFunc(control.Logs, func(c model.LogGroup) bool { return c.Template == g.Template && isError(c) })
		if isError(g) && !there && !slices.Contains(templates, g.Template) {
			templates = append(templates, g.Template)
		}
	}
	if len(templates) == 0 {
		return "none new"
	}
	return fmt.Sprintf("%d new", len(templates))
}

// ended names the phantoms that the control did not lose.
func ended(r *model.Report) string {
	var list []string
	for _, p := range r.Trial.Processes {
		c := slices.IndexFunc(r.Control.Processes, func(c model.Process) bool { return c.Phantom && c.PID == p.PID })
		if !p.Phantom || p.Exit == nil || c >= 0 && r.Control.Processes[c].Exit != nil {
			continue
		}
		how := p.Exit.Signal
		if how == "" {
			how = fmt.Sprintf("exit status %d", p.Exit.Code)
		}
		name := p.Member
		if !slices.ContainsFunc(r.Spec.Members, func(m model.Member) bool { return m.PID == p.PID }) {
			name = strings.TrimSpace(fmt.Sprintf("%s pid %d", name, p.PID))
		}
		list = append(list, fmt.Sprintf("%s (%s)", name, how))
	}
	return few(list)
}

// left names what the action left running.
func left(r *model.Report) string {
	var list []string
	for _, e := range r.Verdict.Effects {
		if e.Kind == "process" && e.Sign == "+" {
			list = append(list, e.Object)
		}
	}
	slices.Sort(list)
	return few(list)
}

// mostNames bounds the names in a cell of a table.
const mostNames = 3

// few is a list for people.
func few(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	text := strings.Join(list[:min(len(list), mostNames)], ", ")
	if n := len(list) - mostNames; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// logFile matches the names of files that grow by chance.
var logFile = regexp.MustCompile(`(?i)\.(log|out|err)(\.\d+)?$`)

// files counts those that the control has not changed, and what they grew by. Which
// ones they are is what counts, but for logs and the files of known systems: what
// was under way when the snapshot was taken ends in one world so and in the other so.
// For the latter there are records.
func files(r *model.Report) property {
	signs, keys, all := map[string]int{}, []string{}, 0
	var grown int64
	changed := map[string]model.FileChange{}
	for _, f := range r.Trial.Files {
		changed[f.Path] = f
	}
	for _, e := range r.Verdict.Effects {
		if e.Kind != "file" {
			continue
		}
		signs[e.Sign]++
		all++
		if _, known := store.StoreOf(e.Object); !known && !logFile.MatchString(e.Object) {
			keys = append(keys, e.Sign+e.Object)
		}
		grown += changed[e.Object].New - changed[e.Object].Old
	}
	p := property{name: "data changed", value: "none"}
	slices.Sort(keys)
	if all > 0 {
		p.value = fmt.Sprintf("%s (+%d ~%d -%d), %+d bytes", count(all, "file"), signs["+"], signs["~"], signs["-"], grown)
	}
	p.key = "files " + strings.Join(keys, "\x00")
	return p
}

// listening is by which addresses a world differs from the control.
func listening(t, control model.World) string {
	var list []string
	for _, a := range control.Listening {
		if !slices.Contains(t.Listening, a) {
			list = append(list, "- "+a)
		}
	}
	for _, a := range t.Listening {
		if !slices.Contains(control.Listening, a) {
			list = append(list, "+ "+a)
		}
	}
	if len(list) == 0 {
		return "as the control"
	}
	return few(list)
}

// records are the figures of stores that the control has otherwise. Only that one
// became smaller counts: by how much they grew is left to chance, as above.
func records(t, control model.World) (list []property) {
	for _, d := range verdict.Records(t, control) {
		p := property{"records: " + d.What, d.Trial, kept}
		if d.Fell {
			p.key = "fell: " + d.Trial
		}
		list = append(list, p)
	}
	return list
}
