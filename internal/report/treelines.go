package report

import (
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
)

// A row is a node that has to be written, and how.
type row struct {
	n *causal.Node
	// bars are drawn before it; those of its children begin with below.
	bars, below string
	times       int // so many alike
	bytes       int64
}

// tree writes root and all below it. A stack of rows, since messages that go to
// and fro make trees thousands deep.
func (p *treePrinter) tree(root *causal.Node) {
	open := []row{{n: root, times: 1, below: "  ", bars: "  "}}
	for len(open) > 0 {
		r := open[len(open)-1]
		open = open[:len(open)-1]
		n, to := p.follow(r.n)
		p.line(r, to)
		children := p.children(n)
		for i := len(children) - 1; i >= 0; i-- {
			c := children[i]
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
	c := p.receipt(n)
	if c == nil {
		return n, ""
	}
	to = " → " + strings.TrimSpace(actor(c))
	if c.Task != "" {
		to += " " + clean(c.Task)
	}
	return c, to
}

// receipt is the one message that n caused and that has consequences, or nil.
func (p *treePrinter) receipt(n *causal.Node) (found *causal.Node) {
	for _, id := range n.Children {
		switch c := p.t.Node(id); {
		case c.Cause != causal.Message || c.Failed:
			return nil
		case found == nil || len(found.Children) == 0:
			found = c
		case len(c.Children) > 0:
			return nil
		}
	}
	return found
}

// children are the rows below n. Those alike that follow each other are one.
func (p *treePrinter) children(n *causal.Node) (rows []row) {
	for _, id := range n.Children {
		c := p.t.Node(id)
		if last := len(rows) - 1; last >= 0 && alike(rows[last].n, c) {
			rows[last].times += max(1, c.Count)
			rows[last].bytes += c.Bytes
			continue
		}
		rows = append(rows, row{n: c, times: max(1, c.Count), bytes: c.Bytes})
	}
	return rows
}

// alike reports whether two nodes without children differ in time and size only.
func alike(a, b *causal.Node) bool {
	return len(a.Children)+len(b.Children) == 0 && a.Kind == b.Kind && a.PID == b.PID && a.Task == b.Task &&
		a.Object == b.Object && a.To == b.To && a.Conn == b.Conn && a.Error == b.Error && a.Confidence == b.Confidence
}

// line writes one row.
func (p *treePrinter) line(r row, to string) {
	if p.lines++; p.lines > maxLines && !p.all {
		p.left++
		return
	}
	n := r.n
	mark := "  "
	switch {
	case n.Failed:
		mark = p.paint(red, "x ")
	case n.Confidence == causal.Likely:
		mark = "~ "
	}
	text := p.outcome(n)
	if r.times > max(1, n.Count) {
		text += fmt.Sprintf(" ×%d", r.times)
		if r.bytes > n.Bytes {
			text += fmt.Sprintf(", %d B in all", r.bytes)
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
