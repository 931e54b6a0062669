package report

import (
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
)

// A row is one that has to be written, and how.
type row struct {
	causal.Row
	// bars are drawn before it; those of its children begin with below.
	bars, below string
}

// tree writes root and all below it. A stack of rows, since messages that go to
// and fro make trees thousands deep.
func (p *treePrinter) tree(root *causal.Node) {
	open := []row{{Row: causal.NewRow(root), below: "  ", bars: "  "}}
	for len(open) > 0 {
		r := open[len(open)-1]
		open = open[:len(open)-1]
		n, to := p.follow(r.Node)
		p.line(r, to)
		children := p.t.Rows(n)
		for i := len(children) - 1; i >= 0; i-- {
			c := row{Row: children[i]}
			if i == len(children)-1 {
				c.bars, c.below = r.below+"└ ", r.below+"  "
			} else {
				c.bars, c.below = r.below+"├ ", r.below+"│ "
			}
			open = append(open, c)
		}
	}
}

// follow goes from a message to its receipt, which is shown in the same line.
func (p *treePrinter) follow(n *causal.Node) (last *causal.Node, to string) {
	c := p.t.Receipt(n)
	if c == nil {
		return n, ""
	}
	to = " → " + strings.TrimSpace(actor(c))
	if c.Task != "" {
		to += " " + clean(c.Task)
	}
	return c, to
}

// line writes one row.
func (p *treePrinter) line(r row, to string) {
	if p.lines++; p.lines > maxLines && !p.all {
		p.left++
		return
	}
	n := r.Node
	mark := "  "
	switch {
	case n.Failed:
		mark = p.paint(red, "x ")
	case n.Confidence == causal.Likely:
		mark = "~ "
	}
	text := p.outcome(n)
	if r.Many() {
		text += fmt.Sprintf(" ×%d", r.Times)
		if r.Bytes > n.Bytes {
			text += fmt.Sprintf(", %d B in all", r.Bytes)
		}
	}
	if n.Failed {
		text = p.paint(red, text)
	}
	p.printf("%s %s%s%s%s%s\n", stamp(n.Done()), mark, clean(r.bars), p.who(n), text, to)
	if n.Failed {
		for _, f := range n.Stack[:min(len(n.Stack), maxFrames)] {
			p.printf("%s %s    at %s\n", strings.Repeat(" ", 9), clean(r.below), clean(f))
		}
	}
}

// who is the actor of n, if its parent's is another.
func (p *treePrinter) who(n *causal.Node) string {
	up := p.t.Node(n.Parent)
	if up == nil || up.PID != n.PID && up.Child != n.PID {
		return actor(n)
	}
	return ""
}
