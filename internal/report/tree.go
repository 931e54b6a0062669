package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// A TreeOf says which tree is shown.
type TreeOf struct {
	Run *model.Report
	// All shows what is not of the action's doing too, and any number of lines.
	All   bool
	Color bool
}

// maxLines bounds the tree as text.
const maxLines = 200

// maxFrames bounds the frames of a stack that are shown.
const maxFrames = 4

// TreeText writes t for people: what failed, then what the action caused, then a
// summary of the rest.
func TreeText(w io.Writer, t *causal.Tree, of TreeOf) error {
	p := &treePrinter{printer: &printer{w: w, color: of.Color}, t: t, all: of.All}
	p.head(of.Run)
	p.failures()
	p.section("tree")
	for _, id := range t.Roots {
		if n := t.Node(id); of.All || n.Doer == causal.ByAction {
			p.tree(n)
		}
	}
	switch {
	case len(t.Nodes) == 0:
		p.printf("  nothing\n")
	case p.left > 0:
		p.printf("  … and %s, see --all, --depth, --member, --since or --errors\n", count(p.left, "more line"))
	}
	if !of.All {
		p.others()
	}
	return p.err
}

type treePrinter struct {
	*printer
	t     *causal.Tree
	all   bool
	lines int
	left  int // lines that were not shown
}

// head says in a sentence what the action did.
func (p *treePrinter) head(r *model.Report) {
	kinds := map[string]int{}
	members := []string{}
	events, likely, failed := 0, 0, 0
	for i := range p.t.Nodes {
		n := &p.t.Nodes[i]
		if n.Doer != causal.ByAction {
			continue
		}
		if n.Member != "" && !slices.Contains(members, n.Member) {
			members = append(members, n.Member)
		}
		if n.Confidence == causal.Likely {
			likely++
		}
		if n.Failed {
			failed++
		}
		kinds[n.Kind]++
		events++
	}
	slices.Sort(members)
	p.printf("%s of run %s: %s\n", p.t.World, r.ID, clip(clean(strings.Join(r.Spec.Action, " "))))
	if events == 0 {
		p.printf("  the action caused nothing that was recorded\n")
		return
	}
	where := ""
	if len(members) > 0 {
		where = " on " + clean(strings.Join(members, ", "))
	}
	p.printf("  caused %s%s, %s: %s\n", count(events, "event"), where, count(failed, "failure"), kindsText(kinds))
	p.printf("  the cause of %d was seen, that of %d is likely (~)\n", events-likely, likely)
}

// kindsText lists how many there are of each kind, most first.
func kindsText(kinds map[string]int) string {
	names := []string{}
	for k := range kinds {
		names = append(names, k)
	}
	slices.SortFunc(names, func(a, b string) int {
		if kinds[a] != kinds[b] {
			return kinds[b] - kinds[a]
		}
		return strings.Compare(a, b)
	})
	for i, k := range names {
		names[i] = fmt.Sprintf("%d %s", kinds[k], k)
	}
	return strings.Join(names, ", ")
}

// failures lists what failed by the action's doing, and how it came to that.
func (p *treePrinter) failures() {
	shown := 0
	for i := range p.t.Nodes {
		n := &p.t.Nodes[i]
		if !n.Failed || n.Doer != causal.ByAction {
			continue
		}
		if shown++; shown == 1 {
			p.section("failures")
		}
		if shown > maxRows/3 {
			continue
		}
		p.printf("  %s %s %s%s\n", p.paint(red, "x"), stamp(n.Done()), actor(n), p.outcome(n))
		p.printf("    by %s\n", p.path(n))
	}
	if shown > maxRows/3 {
		p.printf("  … and %d more, see --errors\n", shown-maxRows/3)
	}
}

// path is the processes that n came through, from the action on.
func (p *treePrinter) path(n *causal.Node) string {
	steps := []string{}
	for up := n; up != nil; up = p.t.Node(up.Parent) {
		if s := strings.TrimSpace(actor(up)); len(steps) == 0 || steps[len(steps)-1] != s {
			steps = append(steps, s)
		}
	}
	slices.Reverse(steps)
	if len(steps) > 8 { // messages that go to and fro
		steps = append(append(steps[:4:4], "…"), steps[len(steps)-3:]...)
	}
	return strings.Join(steps, " → ")
}

// actor is who did n, with a space behind.
func actor(n *causal.Node) string {
	s := clean(n.Member)
	if s == "" {
		s = clean(n.Process)
	}
	if s == "" {
		s = "pid"
	}
	return fmt.Sprintf("%s(%d) ", s, n.PID)
}

// outcome is what n did, and its error.
func (p *treePrinter) outcome(n *causal.Node) string {
	s := clip(clean(n.What))
	if n.Error != "" {
		s += ": " + clean(n.Error)
	}
	return s
}

// maxText bounds what is shown of a command line or a line of a log.
const maxText = 120

func clip(s string) string {
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText]) + "…"
	}
	return s
}

func stamp(d time.Duration) string { return fmt.Sprintf("%8.3fs", d.Seconds()) }

// others counts what is not of the action's doing.
func (p *treePrinter) others() {
	type group struct{ who, why string }
	groups := map[group]map[string]int{}
	keys := []group{}
	for i := range p.t.Nodes {
		n := &p.t.Nodes[i]
		if n.Doer == causal.ByAction || n.Kind == causal.KindProcess {
			continue
		}
		g := group{n.Member, "cause not known, not in the control"}
		switch {
		case n.Doer == causal.ByCheck:
			g = group{"checks", "of their own"}
		case n.Background:
			g.why = "the other world does it as often"
		}
		if groups[g] == nil {
			groups[g] = map[string]int{}
			keys = append(keys, g)
		}
		groups[g][n.Kind]++
	}
	if len(keys) == 0 {
		return
	}
	slices.SortFunc(keys, func(a, b group) int { return strings.Compare(a.who+"\x00"+a.why, b.who+"\x00"+b.why) })
	p.section("not caused by the action")
	rows := [][]string{}
	for _, g := range keys {
		who := clean(g.who)
		if who == "" {
			who = "other processes"
		}
		rows = append(rows, []string{who, g.why, kindsText(groups[g])})
	}
	p.table(rows)
}

// TreeJSON writes t as one object, which docs/tree.schema.json describes.
func TreeJSON(w io.Writer, t *causal.Tree, run *model.Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Version int    `json:"version"`
		Run     string `json:"run"`
		*causal.Tree
	}{model.Version, run.ID, t})
}
