package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/series"
)

// Rounds writes what several runs of one action say together.
func Rounds(w io.Writer, s series.Rounds, color bool) error {
	p := &printer{w: w, color: color}
	p.headline(model.Verdict{Status: s.Status, Reason: s.Reason})
	p.section("rounds")
	rows := [][]string{}
	for i, r := range s.Rounds {
		rows = append(rows, []string{fmt.Sprint(i + 1), string(r.Status), r.Action + " after " + span(r.Duration),
			"held back " + ms(r.Jitter), clean(r.Run), clean(short(r.Reason))})
	}
	p.table(rows)
	p.groups("findings", s.Findings, func(runs []int) string { return fmt.Sprintf("in %d of %d", len(runs), len(s.Rounds)) })
	p.groups("noise, which differs between the controls", s.Noise, func(runs []int) string { return fmt.Sprintf("in %d of %d", len(runs), len(s.Rounds)) })
	if len(s.Varied) > 0 {
		p.section("what differed between rounds")
		for _, v := range s.Varied {
			var values []string
			for _, x := range v.Values {
				values = append(values, fmt.Sprintf("%s (%s)", x.Value, roundList(x.Runs)))
			}
			p.printf("  ~ %s: %s\n", clean(series.Short(v.Property)), clean(strings.Join(values, "; ")))
		}
	}
	return p.err
}

// groups writes findings that several runs have.
func (p *printer) groups(title string, list []series.Group, where func([]int) string) {
	if len(list) == 0 {
		return
	}
	p.section(title)
	for _, g := range list[:min(len(list), maxRows)] {
		mark := marks[g.Severity]
		p.printf("  %s %s  %s%s  [%s]  %s\n", p.paint(mark.style, mark.sign), p.paint(mark.style, fmt.Sprintf("%-8s", g.Severity)),
			clean(g.Message), who(g.Finding), g.Rule, where(g.Runs))
		for _, e := range g.Evidence {
			p.quote(e)
		}
		if g.Control != "" {
			p.printf("              control: %s\n", clean(g.Control))
		}
	}
	p.more(len(list), "findings")
}

// roundList is numbers of rounds for people: "rounds 1, 3".
func roundList(runs []int) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(runs), " ", ", "), "[]")
	if len(runs) == 1 {
		return "round " + text
	}
	return "rounds " + text
}

// mostReason bounds a reason in a table.
const mostReason = 100

func short(reason string) string {
	if r := []rune(reason); len(r) > mostReason {
		return string(r[:mostReason]) + "…"
	}
	return reason
}

// Comparison writes how several actions differ.
func Comparison(w io.Writer, c series.Comparison, color bool) error {
	p := &printer{w: w, color: color}
	switch {
	case c.Differs:
		p.printf("%s  %s\n\n", p.paint(headlines[model.Fail], "DIFFERS"), clean(c.Reason))
	case c.Unproven:
		p.printf("%s  %s\n\n", p.paint(headlines[model.Unknown], "UNKNOWN"), clean(c.Reason))
	default:
		p.printf("%s  %s\n\n", p.paint(headlines[model.Pass], "SAME"), clean(c.Reason))
	}
	head, list := []string{""}, [][]string{}
	for _, col := range c.Columns {
		head = append(head, col.Name)
		if col.Action != "" {
			list = append(list, []string{col.Name, clean(col.Action), "run " + clean(col.Run)})
		}
	}
	p.table(list)
	p.section("worlds")
	rows := [][]string{head}
	for _, r := range c.Rows {
		sign := "  "
		switch {
		case r.Counts:
			sign = "! "
		case r.Differs:
			sign = "~ "
		}
		row := []string{sign + clean(series.Short(r.Property))}
		for _, v := range r.Values {
			row = append(row, clean(v))
		}
		rows = append(rows, row)
	}
	p.table(rows)
	if slices.ContainsFunc(c.Rows, func(r series.Row) bool { return r.Differs }) {
		p.printf("  (! differs and counts, ~ differs, and may do so by chance)\n")
	}
	p.groups("findings that not all have", c.Findings, func(runs []int) string {
		var names []string
		for _, n := range runs {
			names = append(names, c.Columns[n-1].Name)
		}
		return "in " + strings.Join(names, ", ")
	})
	return p.err
}
