package series

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A Comparison says how several actions differ that were tried at the same time,
// each in a trial of its own.
type Comparison struct {
	Version int `json:"version"`
	// Differs is set when there is a difference that proves something. Unproven
	// is set when it may only not have been seen.
	Differs  bool     `json:"differs"`
	Unproven bool     `json:"unproven"`
	Reason   string   `json:"reason"` // one sentence
	Columns  []Column `json:"columns"`
	Rows     []Row    `json:"rows"`
	// Findings are those that not all trials have. Their runs are columns.
	Findings []Group `json:"findings"`
}

// A Column is one of the worlds that are compared.
type Column struct {
	Name   string       `json:"name"` // "A", "B", ..., or "control"
	Action string       `json:"action,omitempty"`
	Run    string       `json:"run,omitempty"`
	Status model.Status `json:"status,omitempty"`
	Reason string       `json:"reason,omitempty"`
}

// A Row is one property of all columns.
type Row struct {
	Property string   `json:"property"`
	Values   []string `json:"values"` // in the order of the columns
	// Differs is set where the trials do not have it alike, Counts where that
	// proves something: durations, for instance, differ by chance.
	Differs bool `json:"differs"`
	Counts  bool `json:"counts"`
}

// missing stands for a property that a world has as the control has it.
const missing = "as the control"

// Compare concludes the reports of one round, of which actions are the command
// lines. It shows the control as well if withControl is set.
func Compare(reports []*model.Report, actions []string, withControl bool) Comparison {
	c := Comparison{Version: model.Version, Rows: []Row{}, Findings: []Group{}}
	var all [][]property
	for i, r := range reports {
		c.Columns = append(c.Columns, Column{Name: letter(i), Action: actions[i], Run: r.ID, Status: r.Verdict.Status, Reason: r.Verdict.Reason})
		all = append(all, properties(r))
		c.Unproven = c.Unproven || r.Verdict.Status == model.Unknown
	}
	trials := len(all)
	if withControl {
		c.Columns = append(c.Columns, Column{Name: "control"})
		all = append(all, ofControl(reports[0]))
	}
	for _, name := range names(all) {
		c.Rows = append(c.Rows, row(name, all, trials))
	}
	var about []string
	for _, r := range c.Rows {
		if r.Counts {
			about = append(about, r.Property)
		}
	}
	for _, g := range group(reports, findings) {
		if len(g.Runs) == trials || g.Severity == model.Info {
			continue
		}
		c.Findings = append(c.Findings, g)
		if proves(g.Finding) && !slices.Contains(about, "findings") {
			about = append(about, "findings")
		}
	}
	c.Differs = len(about) > 0
	c.Reason = c.reason(about)
	return c
}

func (c Comparison) reason(about []string) string {
	for i, name := range about {
		about[i] = Short(name)
	}
	switch {
	case c.Differs:
		return "the actions differ in " + strings.Join(about, ", ")
	case c.Unproven:
		return "no difference was seen, but a trial is not proven: " + c.doubt()
	default:
		return "no difference that counts"
	}
}

// mostName bounds the name of a property: that of a check may be a long command line.
const mostName = 40

// Short is the name of a property for people.
func Short(property string) string {
	if r := []rune(property); len(r) > mostName {
		return string(r[:mostName-1]) + "…"
	}
	return property
}

// doubt is the reason of the first trial that is not proven.
func (c Comparison) doubt() string {
	for _, col := range c.Columns {
		if col.Status == model.Unknown {
			return col.Name + ": " + col.Reason
		}
	}
	return ""
}

// proves reports whether a difference in a finding counts. Messages in logs come
// and go by chance, and what is not proven proves nothing.
func proves(f model.Finding) bool {
	return f.Severity == model.Error || f.Severity == model.Warning && f.Rule != "log-error" && f.Rule != "retry-loop"
}

// letter names column i.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i + 1)
}

// names are those of all properties, in the order of the first that has them.
func names(all [][]property) (list []string) {
	for _, properties := range all {
		for _, p := range properties {
			if p.name != theRest && !slices.Contains(list, p.name) {
				list = append(list, p.name)
			}
		}
	}
	return list
}

// row compares one property of the first so many columns.
func row(name string, all [][]property, trials int) Row {
	r := Row{Property: name}
	var keys, values []string
	for i, properties := range all {
		p := property{value: missing, key: missing}
		called := func(name string) int {
			return slices.IndexFunc(properties, func(p property) bool { return p.name == name })
		}
		if at := called(name); at >= 0 {
			p = properties[at]
		} else if at := called(theRest); at >= 0 {
			p = properties[at]
		} else if name == "healthy" {
			p = property{value: "not measured"}
		} else if strings.HasPrefix(name, "check ") {
			p = property{value: "not run"}
		} else if strings.HasPrefix(name, "records: ") {
			p.key = kept // or the control would have less as well
		}
		r.Values = append(r.Values, p.value)
		if i < trials {
			values = append(values, p.value)
			if p.key != "" {
				keys = append(keys, p.key)
			}
		}
	}
	r.Differs, r.Counts = !uniform(values), !uniform(keys)
	r.Differs = r.Differs || r.Counts // other files, as many
	return r
}

// uniform reports whether all texts are the same.
func uniform(list []string) bool { return len(slices.Compact(slices.Clone(list))) <= 1 }
