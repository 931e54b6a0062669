package page

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// mostEffects bounds the effects that are shown of one member. The files among
// them are in the table of files again, all of them.
const mostEffects = 200

// A view is what the template shows, top to bottom.
type view struct {
	Policy   string
	Style    template.CSS
	Script   template.JS
	R        *model.Report
	Unmasked bool

	Status, Class, Sign string
	Action              *model.CommandResult
	Next                []step
	Parts               []part
	Findings            []finding
	Severities          []tally
	Effects             []effectGroup
	Timeline            timeline
	Causes              *causes
	Differences         []difference
	Checks              []checkPair
	Quoted              []quoted
	Logs                []logRow
	LogRules            []ruleRow
	Attempts            []attemptRow
	Processes           []processes
	Files               []fileRow
	FileTallies         []tally
	FilesOpen           bool
	OnlyControl         int // files that changed in the control alone
	Observed            []model.World
	Pause               pauseBars
	Worlds              []eventWorld
	Stores              []storeRow
}

// A part is an entry of the table of contents.
type part struct {
	ID, Name, Note string
}

// A tally is how often a word applies.
type tally struct {
	Class, Word string
	N           int
}

type finding struct {
	model.Finding
	N     int
	Who   string
	Class string
	Open  bool
}

type effectGroup struct {
	Member  string
	Tallies []tally
	Rows    []effectRow
	More    int
	Open    bool
}

type effectRow struct {
	model.Effect
	Word, Class string
}

type difference struct {
	model.Difference
	Differs bool
}

// A checkPair is one check in both worlds.
type checkPair struct {
	Name    string
	Command []string
	Wants   []string // of its output
	Worlds  []checkWorld
}

type checkWorld struct {
	Name    string
	Results []checkResult // before and after, none when it was not run there
}

type checkResult struct {
	When, Outcome, Class, Took, Output string
}

type fileRow struct {
	model.FileChange
	Word, Class string
	InControl   bool
}

type storeRow struct {
	model.Store
	World string
}

type attemptRow struct {
	model.Attempt
	World  string
	Who    string
	Denied bool
	Common bool // in the control too
}

type processes struct {
	World string
	Rows  []model.Process
	Open  bool
}

func (p Page) view() view {
	r := p.Report
	v := view{
		Policy: policy(), Style: template.CSS(style), Script: template.JS(script), // both are this package's own text
		R: r, Unmasked: p.Unmasked,
		Status: statusWord(r.Verdict.Status), Class: statusClass(r.Verdict.Status), Sign: statusSign(r.Verdict.Status),
		Action:   r.Trial.Action,
		Next:     next(r),
		Findings: findings(r.Verdict.Findings), Severities: severities(r.Verdict.Findings),
		Effects:     effects(r.Verdict.Effects),
		Timeline:    newTimeline(r),
		Causes:      newCauses(r),
		Differences: differences(r.Verdict.Differences),
		Checks:      checks(r),
		Quoted:      outputs(r),
		Logs:        logRows(r),
		LogRules:    ruleRows(r),
		Attempts:    attempts(r),
		Processes: []processes{
			{World: "trial", Rows: r.Trial.Processes, Open: len(r.Trial.Processes) <= foldAbove},
			{World: "control", Rows: r.Control.Processes},
		},
		Pause: newPauseBars(r.Pause, r.Spec.MaxPause),
	}
	v.Files, v.OnlyControl = files(r)
	for _, f := range v.Files {
		v.FileTallies = tallied(v.FileTallies, f.Word, f.Class)
	}
	v.FilesOpen = len(v.Files) <= foldAbove
	v.Observed = []model.World{r.Trial, r.Control}
	v.Worlds = eventWorlds(r)
	for _, w := range v.Observed {
		for _, s := range w.Stores {
			v.Stores = append(v.Stores, storeRow{s, w.Name})
		}
	}
	v.Parts = parts(v)
	return v
}

// foldAbove is how long a list may be that is open from the start.
const foldAbove = 40

func parts(v view) []part {
	n := number
	effects := 0
	for _, g := range v.Effects {
		effects += len(g.Rows) + g.More
	}
	list := []part{
		{"findings", "Findings", n(len(v.Findings))},
		{"effects", "Effects", n(effects)},
		{"timeline", "Timeline", ""},
	}
	if v.Causes != nil {
		list = append(list, part{"causes", "Who caused what", ""})
	}
	list = append(list, []part{
		{"differences", "Trial and control", ""},
		{"logs", "Logs", n(len(v.Logs))},
		{"attempts", "Attempts to leave", n(len(v.Attempts))},
		{"processes", "Processes", n(len(v.R.Trial.Processes))},
		{"files", "Files", n(len(v.Files))},
	}...)
	if len(v.Stores) > 0 {
		list = append(list, part{"stores", "Data", n(len(v.Stores))})
	}
	if len(v.Worlds) > 0 {
		list = append(list, part{"events", "Events", n(len(v.R.Trial.Events))})
	}
	return append(list,
		part{"pause", "Pause", ms(v.R.Pause.Total)},
		part{"gaps", "Not covered", n(len(v.R.Verdict.NotCovered))},
		part{"run", "This run", ""})
}

func statusClass(s model.Status) string { return strings.ToLower(statusWord(s)) }

func statusSign(s model.Status) string {
	switch s {
	case model.Pass:
		return "✓"
	case model.Fail:
		return "✕"
	}
	return "?"
}

// severityClass is one of four, so that a severity of a later version is shown
// as grave.
func severityClass(s model.Severity) string {
	switch s {
	case model.Unproven, model.Warning, model.Info:
		return string(s)
	}
	return "error"
}

func findings(list []model.Finding) (out []finding) {
	for i, f := range list {
		class := severityClass(f.Severity)
		out = append(out, finding{Finding: f, N: i + 1, Who: who(f), Class: class,
			Open: i < foldAbove && (class == "error" || class == "unproven")})
	}
	return out
}

// who names the process of f as far as the message does not.
func who(f model.Finding) string {
	var parts []string
	if f.Member != "" && !strings.Contains(f.Message, f.Member) {
		parts = append(parts, f.Member)
	}
	if f.PID != 0 && !strings.Contains(f.Message, fmt.Sprintf("pid %d", f.PID)) {
		parts = append(parts, fmt.Sprintf("pid %d", f.PID))
	}
	return strings.Join(parts, ", ")
}

func severities(list []model.Finding) []tally {
	out := []tally{{Class: "error", Word: "error"}, {Class: "unproven", Word: "unproven"}, {Class: "warning", Word: "warning"}, {Class: "info", Word: "info"}}
	for _, f := range list {
		for i := range out {
			if out[i].Class == severityClass(f.Severity) {
				out[i].N++
			}
		}
	}
	for i, t := range out {
		if t.N > 1 && (t.Class == "error" || t.Class == "warning") {
			out[i].Word += "s"
		}
	}
	return slices.DeleteFunc(out, func(t tally) bool { return t.N == 0 })
}

// signs are the effects' signs, as words and as classes of the style.
func signs(sign string) (word, class string) {
	switch sign {
	case "+":
		return "created", "made"
	case "~":
		return "changed", "changed"
	case "-":
		return "removed", "removed"
	case "!":
		return "tried to leave", "tried"
	case "x":
		return "failed", "failed"
	}
	return "unknown", "unclear"
}

func effects(list []model.Effect) (groups []effectGroup) {
	at := map[string]int{}
	for _, e := range list {
		i, known := at[e.Member]
		if !known {
			i = len(groups)
			at[e.Member] = i
			groups = append(groups, effectGroup{Member: e.Member})
		}
		g := &groups[i]
		word, class := signs(e.Sign)
		g.Tallies = tallied(g.Tallies, word, class)
		if len(g.Rows) == mostEffects {
			g.More++
			continue
		}
		g.Rows = append(g.Rows, effectRow{Effect: e, Word: word, Class: class})
	}
	for i := range groups {
		groups[i].Open = len(groups[i].Rows) <= foldAbove/2
	}
	// What no member did, the action did: it comes first.
	slices.SortStableFunc(groups, func(a, b effectGroup) int { return cmp.Compare(a.Member, b.Member) })
	return groups
}

func tallied(list []tally, word, class string) []tally {
	for i := range list {
		if list[i].Word == word {
			list[i].N++
			return list
		}
	}
	return append(list, tally{Class: class, Word: word, N: 1})
}

func differences(list []model.Difference) (out []difference) {
	for _, d := range list {
		out = append(out, difference{d, d.Trial != d.Control})
	}
	return out
}

// files are the trial's changes, each with whether the control has it, too.
func files(r *model.Report) (rows []fileRow, onlyControl int) {
	type change struct{ sign, path string }
	control := map[change]bool{}
	for _, f := range r.Control.Files {
		control[change{f.Sign, f.Path}] = true
	}
	for _, f := range r.Trial.Files {
		word, class := signs(f.Sign)
		c := change{f.Sign, f.Path}
		rows = append(rows, fileRow{FileChange: f, Word: word, Class: class, InControl: control[c]})
		delete(control, c)
	}
	return rows, len(control)
}

func attempts(r *model.Report) (out []attemptRow) {
	tried := map[string]bool{}
	key := func(a model.Attempt) string { return a.Op + "\x00" + a.Target }
	for _, a := range r.Control.Attempts {
		tried[key(a)] = true
	}
	for _, w := range []model.World{r.Trial, r.Control} {
		for _, a := range w.Attempts {
			name := a.Process
			if a.Member != "" {
				name = strings.TrimPrefix(a.Member+": "+name, ": ")
			}
			out = append(out, attemptRow{Attempt: a, World: w.Name, Who: name, Denied: a.Denied(), Common: tried[key(a)]})
		}
	}
	return out
}
