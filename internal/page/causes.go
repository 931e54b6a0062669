package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// Bounds of the tree on the page; pilot tree shows all of it.
const (
	mostCauses   = 1500 // lines
	deepestCause = 40
	openCauses   = 3 // levels that are unfolded
	mostFailures = 20
)

// causes is who caused what in the trial.
type causes struct {
	Roots    []cause
	Failures []failure
	More     int      // lines that are not shown
	Deeper   bool     // some are not since they lie too deep
	Members  []string // that have lines
	Failed   bool     // something did
}

// A cause is a line of the tree, and the lines below it.
type cause struct {
	Who, To, Text string
	Class         string
	Node          *causal.Node
	Below         []cause
	Total         int // lines below
	Open          bool
}

// A failure is one that the action caused, and the processes that it came through.
type failure struct {
	Node      *causal.Node
	Who, Text string
	Way       []string
}

// newCauses is nil when there are no events to make a tree of.
func newCauses(r *model.Report) *causes {
	if len(r.Trial.Events) == 0 {
		return nil
	}
	g := grower{tree: causal.Build(&r.Trial, &r.Control), members: map[string]bool{}}
	out := &causes{}
	for _, id := range g.tree.Roots {
		if n := g.tree.Node(id); n.Doer == causal.ByAction {
			out.Roots = append(out.Roots, g.grow(causal.NewRow(n), nil, 0))
		}
	}
	if len(out.Roots) == 0 {
		return nil
	}
	for i := range g.tree.Nodes {
		n := &g.tree.Nodes[i]
		if !n.Failed || n.Doer != causal.ByAction {
			continue
		}
		if len(out.Failures) == mostFailures {
			break
		}
		out.Failures = append(out.Failures, failure{Node: n, Who: doer(n), Text: outcome(n), Way: g.way(n)})
	}
	out.Failed = len(out.Failures) > 0
	out.More, out.Deeper = g.left, g.deeper
	for m := range g.members {
		out.Members = append(out.Members, m)
	}
	slices.Sort(out.Members)
	return out
}

type grower struct {
	tree    *causal.Tree
	members map[string]bool
	lines   int
	left    int
	deeper  bool
}

// grow makes the line of a row, and those below it.
func (g *grower) grow(row causal.Row, up *causal.Node, depth int) cause {
	g.lines++
	n := row.Node
	if n.Member != "" {
		g.members[n.Member] = true
	}
	c := cause{Node: n, Text: outcome(n), Open: depth < openCauses}
	if up == nil || up.PID != n.PID && up.Child != n.PID {
		c.Who = doer(n)
	}
	if row.Many() {
		c.Text += fmt.Sprintf(", %d times", row.Times)
		if row.Bytes > n.Bytes {
			c.Text += ", " + size(row.Bytes) + " in all"
		}
	}
	switch {
	case n.Failed:
		c.Class = "failed"
	case n.Confidence == causal.Likely:
		c.Class = "likely"
	}
	if to := g.tree.Receipt(n); to != nil {
		c.To = strings.TrimSpace(doer(to) + " " + to.Task)
		if to.Member != "" {
			g.members[to.Member] = true
		}
		n = to
	}
	for _, below := range g.tree.Rows(n) {
		if depth+1 >= deepestCause || g.lines >= mostCauses {
			g.deeper = g.deeper || depth+1 >= deepestCause
			g.left++
			continue
		}
		b := g.grow(below, n, depth+1)
		c.Below = append(c.Below, b)
		c.Total += 1 + b.Total
		c.Open = c.Open || b.Open && b.Class == "failed"
	}
	return c
}

// way is the processes that n came through, from the action on.
func (g *grower) way(n *causal.Node) (steps []string) {
	for up := n; up != nil; up = g.tree.Node(up.Parent) {
		if s := doer(up); len(steps) == 0 || steps[len(steps)-1] != s {
			steps = append(steps, s)
		}
	}
	slices.Reverse(steps)
	if len(steps) > 8 { // messages that go to and fro
		steps = append(append(steps[:4:4], "…"), steps[len(steps)-3:]...)
	}
	return steps
}

func doer(n *causal.Node) string {
	return fmt.Sprintf("%s (%d)", cmp.Or(n.Member, n.Process, "pid"), n.PID)
}

// mostText bounds a command line or a line of a log.
const mostText = 200

// outcome is what n did, and its error.
func outcome(n *causal.Node) string {
	text := []rune(n.What)
	if len(text) > mostText {
		text = append(text[:mostText], '…')
	}
	if n.Error != "" {
		return string(text) + ": " + n.Error
	}
	return string(text)
}
