// Package report shows a finished run as text for people and as JSON for
// programs. It writes to the writer it is given and does nothing else.
//
// The first screen of the text is the answer. What processes printed is quoted
// with control characters escaped, so that a log cannot steer the terminal.
package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// maxRows bounds a list of the text; the JSON has all of it.
const maxRows = 30

// Text writes r for people. Colour only repeats what words and signs say.
func Text(w io.Writer, r *model.Report, color bool) error {
	p := &printer{w: w, color: color}
	p.headline(r.Verdict)
	p.findings(r.Verdict.Findings)
	p.noise(r.Verdict.Noise)
	p.effects(r.Verdict.Effects)
	p.gaps(r.Verdict.NotCovered)
	p.differences(r.Verdict.Differences)
	p.pause(r.Pause)
	p.data(r.Data)
	p.run(r)
	return p.err
}

// A printer keeps the first error, so that its callers need not look.
type printer struct {
	w     io.Writer
	color bool
	err   error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) section(title string) { p.printf("\n%s\n", p.paint(bold, title)) }

// table writes rows of equally many cells, indented and aligned.
func (p *printer) table(rows [][]string) {
	if p.err != nil {
		return
	}
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(tw, "  %s\n", strings.Join(row, "\t"))
	}
	p.err = tw.Flush()
}

// more tells of rows that were left out.
func (p *printer) more(n int, what string) {
	if n > maxRows {
		p.printf("  … and %d more %s, see -o json\n", n-maxRows, what)
	}
}

func (p *printer) headline(v model.Verdict) {
	style, known := headlines[v.Status]
	if !known {
		style = headlines[model.Unknown]
	}
	p.printf("%s  %s\n", p.paint(style, strings.ToUpper(string(v.Status))), clean(v.Reason))
}

func (p *printer) findings(list []model.Finding) {
	if len(list) == 0 {
		return
	}
	p.section("findings")
	p.found(list)
}

// noise are findings for which the action is not blamed.
func (p *printer) noise(list []model.Finding) {
	if len(list) == 0 {
		return
	}
	p.section("noise, which does not hold against every control")
	p.found(list)
}

func (p *printer) found(list []model.Finding) {
	for _, f := range list[:min(len(list), maxRows)] {
		mark := marks[f.Severity]
		p.printf("  %s %s  %s%s  [%s]\n", p.paint(mark.style, mark.sign), p.paint(mark.style, fmt.Sprintf("%-8s", f.Severity)), clean(f.Message), who(f), f.Rule)
		for _, e := range f.Evidence {
			p.quote(e)
		}
		if f.Control != "" {
			p.printf("              control: %s\n", clean(f.Control))
		}
	}
	p.more(len(list), "findings")
}

func (p *printer) quote(e model.Evidence) {
	if e.At > 0 {
		p.printf("              %s at %s: %s\n", e.Source, span(e.At), clean(e.Text))
		return
	}
	p.printf("              %s: %s\n", e.Source, clean(e.Text))
}

// who names the process of f as far as the message does not.
func who(f model.Finding) string {
	var parts []string
	if f.Member != "" && !strings.Contains(f.Message, f.Member) {
		parts = append(parts, clean(f.Member))
	}
	if f.PID != 0 && !strings.Contains(f.Message, fmt.Sprintf("pid %d", f.PID)) {
		parts = append(parts, fmt.Sprintf("pid %d", f.PID))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (p *printer) effects(list []model.Effect) {
	p.section("effects")
	if len(list) == 0 {
		p.printf("  none\n")
		return
	}
	rows := [][]string{}
	for _, e := range list[:min(len(list), maxRows)] {
		rows = append(rows, []string{e.Sign + " " + e.Kind, clean(e.Object), aside(e.Member, e.Detail)})
	}
	p.table(rows)
	p.more(len(list), "effects")
}

func (p *printer) gaps(list []model.Gap) {
	p.section("not covered")
	if len(list) == 0 {
		p.printf("  nothing is known to be missing\n")
		return
	}
	for _, g := range list[:min(len(list), maxRows)] {
		what := clean(g.Object)
		if g.Member != "" {
			what = clean(g.Member) + " " + what
		}
		p.printf("  ? %s: %s\n", what, clean(g.Detail))
	}
	p.more(len(list), "gaps")
}

func (p *printer) differences(list []model.Difference) {
	if len(list) == 0 {
		return
	}
	p.section("difference to the control")
	rows := [][]string{{"", "trial", "control"}}
	for _, d := range list[:min(len(list), maxRows)] {
		sign := "  "
		if d.Trial != d.Control {
			sign = "~ "
		}
		rows = append(rows, []string{sign + clean(d.What), clean(d.Trial), clean(d.Control)})
	}
	p.table(rows)
	p.more(len(list), "differences")
}

func (p *printer) pause(t model.Pause) {
	p.section("production")
	p.printf("  stopped for %s: stop %s, capture %s, fork %s, files %s, release %s\n",
		ms(t.Total), ms(t.Stop), ms(t.Capture), ms(t.Fork), ms(t.Files), ms(t.Release))
	if t.Predicted > 0 {
		p.printf("  predicted %s without files, took %s\n", ms(t.Predicted), ms(t.Total-t.Files))
	}
	p.printf("  %s, %s, %s inside the cluster, %d to the outside\n", count(t.Threads, "thread"),
		count(t.Objects, "open file description"), count(t.Connections, "connection"), t.Outside)
}

func (p *printer) data(ways []model.DataWay) {
	for _, w := range ways[:min(len(ways), maxRows)] {
		p.printf("  data in %s (%s): %s\n", clean(w.Path), clean(w.FS), clean(w.Text()))
	}
	p.more(len(ways), "file systems")
}

func (p *printer) run(r *model.Report) {
	p.section("run " + r.ID)
	rows := [][]string{{"action", clean(strings.Join(r.Spec.Action, " ")) + aside(" ", actionEnd(r.Trial.Action))}}
	for _, m := range r.Spec.Members {
		state := "down"
		if !m.Down() {
			state = fmt.Sprintf("pid %d", m.PID)
		}
		rows = append(rows, []string{"member", clean(m.Name) + ", " + state})
	}
	for _, probe := range r.Spec.Probes {
		rows = append(rows, []string{"check", clean(probe.Name)})
	}
	for _, l := range r.Spec.LogRules {
		what := "forbids "
		if l.Require {
			what = "requires "
		}
		rows = append(rows, []string{"log", what + clean(l.Pattern)})
	}
	for _, e := range r.Spec.Egress {
		rows = append(rows, []string{"egress", clean(e.Peer) + ", " + clean(e.Policy)})
	}
	rows = append(rows,
		[]string{"trial", lifetime(r.Trial)},
		[]string{"control", lifetime(r.Control)},
	)
	if r.Part != nil {
		rows = append(rows, []string{"series", partText(*r.Part)})
	}
	if r.Confinement != "" {
		rows = append(rows, []string{"limits", clean(r.Confinement) + each(r.Spec.Limits)})
	}
	rows = append(rows,
		[]string{"started", r.Started.Format(time.RFC3339) + " on " + r.Host + ", took " + span(r.Duration) + ", pilot " + r.Tool})
	for _, l := range r.Leftovers {
		rows = append(rows, []string{"left over", clean(l)})
	}
	p.table(rows)
}

func actionEnd(a *model.CommandResult) string {
	switch {
	case a == nil:
		return "(not run)"
	case a.Err != "":
		return "(not started)"
	case a.Exit == nil:
		return "(not ended)"
	case a.Exit.Signal != "":
		return fmt.Sprintf("(%s after %s)", a.Exit.Signal, span(a.Duration))
	default:
		return fmt.Sprintf("(exit status %d after %s)", a.Exit.Code, span(a.Duration))
	}
}

// partText says which of several runs of a snapshot it is.
func partText(p model.Part) string {
	text := fmt.Sprintf("%d of %d runs of the snapshot of %s", p.Number, p.Of, clean(p.Series))
	if p.Compared {
		text += ", beside the others"
	}
	if p.Jitter > 0 {
		text += ", the action was held back for " + ms(p.Jitter)
	}
	return text
}

func lifetime(w model.World) string {
	text := fmt.Sprintf("spawned in %s, watched for %s", ms(w.Spawn), span(w.Lifetime))
	if r := w.Recovery; r != nil && r.Healthy {
		text += fmt.Sprintf(", its checks passed %s after the action", span(r.After))
	} else if r != nil {
		text += fmt.Sprintf(", its checks did not pass within %s after the action", span(r.After))
	}
	if w.Use.Memory > 0 {
		text += ", took " + mebibytes(w.Use.Memory) + " of memory"
	}
	if w.Use.Written > 0 {
		text += ", wrote " + mebibytes(w.Use.Written)
	}
	return text
}

// each says what a world was allowed.
func each(l model.Limits) string {
	if l.MaxMemory == 0 && l.MaxDisk == 0 {
		return ""
	}
	return fmt.Sprintf("; each world may take %s of memory and write %s", mebibytes(l.MaxMemory), mebibytes(l.MaxDisk))
}
