package causal

import (
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/loglines"
	"github.com/pilotexec/pilot/internal/model"
)

// A Filter says which nodes are wanted. The zero filter wants all.
type Filter struct {
	Member string        // of this member
	Since  time.Duration // done then or later
	Errors bool          // that failed
	Depth  int           // at most so many below a root; 0 is any
}

// Select returns a tree of the wanted nodes and of all that they come of, under
// the same ids. t is not changed.
func (t *Tree) Select(f Filter) *Tree {
	keep := make([]bool, len(t.Nodes))
	depth := make([]int, len(t.Nodes))
	at := make(map[int]int, len(t.Nodes)) // index by id
	for i := range t.Nodes {
		n := &t.Nodes[i]
		at[n.ID] = i
		if n.Parent != 0 {
			depth[i] = depth[at[n.Parent]] + 1
		}
		keep[i] = f.wants(n)
	}
	for i, n := range slices.Backward(t.Nodes) {
		if keep[i] && n.Parent != 0 {
			keep[at[n.Parent]] = true
		}
	}
	for i := range keep {
		keep[i] = keep[i] && (f.Depth == 0 || depth[i] <= f.Depth)
	}
	gone := func(id int) bool { return !keep[at[id]] }
	out := &Tree{World: t.World, Roots: slices.DeleteFunc(slices.Clone(t.Roots), gone), Nodes: []Node{}}
	for i, n := range t.Nodes {
		if keep[i] {
			n.Children = slices.DeleteFunc(slices.Clone(n.Children), gone)
			out.Nodes = append(out.Nodes, n)
		}
	}
	return out
}

func (f Filter) wants(n *Node) bool {
	return (f.Member == "" || n.Member == f.Member) && n.Done() >= f.Since && (!f.Errors || n.Failed)
}

// harmless are errors that are answers.
var harmless = []string{"EAGAIN", "EWOULDBLOCK", "EINPROGRESS", "EINTR", "EALREADY"}

// failures tells which events failed, or tell of a failure. It reads each kind of
// line of a log once.
type failures map[string]bool

func (f failures) failed(e *model.Event) bool {
	if e.Error != "" && !slices.Contains(harmless, e.Error) {
		return true
	}
	switch e.Kind {
	case model.EventBlocked:
		return true
	case model.EventExit:
		return e.Object != "0" && e.Object != "" && e.TID == 0
	case model.EventLog:
		line := template(e.Object)
		failed, known := f[line]
		if !known {
			for _, l := range loglines.Parse(strings.Split(e.Object, "\n")) {
				failed = failed || l.Level >= loglines.Error
			}
			f[line] = failed
		}
		return failed
	}
	return false
}
