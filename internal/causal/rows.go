package causal

// A Row is a node as a line of a shown tree, which may stand for several alike.
type Row struct {
	*Node
	Times int   // so often
	Bytes int64 // of all
}

// NewRow is a row of one node.
func NewRow(n *Node) Row { return Row{Node: n, Times: max(1, n.Count), Bytes: n.Bytes} }

// Many reports whether r stands for more than its node.
func (r Row) Many() bool { return r.Times > max(1, r.Count) }

// Rows are the children of n as rows. Those alike that follow each other are one.
func (t *Tree) Rows(n *Node) (rows []Row) {
	for _, id := range n.Children {
		c := t.Node(id)
		if last := len(rows) - 1; last >= 0 && alike(rows[last].Node, c) {
			rows[last].Times += max(1, c.Count)
			rows[last].Bytes += c.Bytes
			continue
		}
		rows = append(rows, NewRow(c))
	}
	return rows
}

// alike reports whether two nodes without children differ in time and size only.
func alike(a, b *Node) bool {
	return len(a.Children)+len(b.Children) == 0 && a.Kind == b.Kind && a.PID == b.PID && a.Task == b.Task &&
		a.Object == b.Object && a.To == b.To && a.Conn == b.Conn && a.Error == b.Error && a.Confidence == b.Confidence
}

// Receipt is the one message that n caused and that has consequences, or nil: it
// can be shown in the line of n.
func (t *Tree) Receipt(n *Node) (found *Node) {
	for _, id := range n.Children {
		switch c := t.Node(id); {
		case c.Cause != Message || c.Failed:
			return nil
		case found == nil || len(found.Children) == 0:
			found = c
		case len(c.Children) > 0:
			return nil
		}
	}
	return found
}
