package causal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// mostSteps bounds the steps of a way, and mostWords each of them, in bytes.
const mostSteps, mostWords = 7, 100

// Ended finds the end of a process that ended in the world, nil if it was not seen.
func (t *Tree) Ended(pid int) *Node {
	for i := range t.Nodes {
		if n := &t.Nodes[i]; n.Event != nil && n.Kind == model.EventExit && n.PID == pid && (n.TID == 0 || n.TID == pid) {
			return n
		}
	}
	return nil
}

// Way tells how it came to n, from the root on, a step in words each: of a message
// that it was sent, not that it was received.
func (t *Tree) Way(n *Node) []string {
	var steps []string
	for up := n; up != nil; up = t.Node(up.Parent) {
		if up.Event == nil || up != n && up.Kind == model.EventReceive && up.Cause == Message {
			continue
		}
		who := cmp.Or(up.Member, up.Process, "process")
		step := fmt.Sprintf("%s(%d) %s", who, up.PID, up.What)
		if up.Kind == KindProcess {
			step = up.What
		}
		if len(step) > mostWords {
			step = strings.ToValidUTF8(step[:mostWords], "") + "…"
		}
		steps = append(steps, step)
	}
	slices.Reverse(steps)
	if len(steps) > mostSteps {
		steps = append(append(steps[:2:2], "…"), steps[len(steps)-mostSteps+3:]...)
	}
	return steps
}
