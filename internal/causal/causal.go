// Package causal tells who caused what in a world: it puts the events of all
// processes into one tree, from the action over processes, requests and tasks
// down to files, connections, exits, signals and lines of logs.
//
// It reads recorded data and decides; it knows no kernel and no clock. The
// rules, and where they may be wrong, are in docs/design/causal.md. They follow
// three principles:
//
//   - Only what is certain comes of what was seen alone: bytes that one process
//     sent and another read, a process that was started, a thread or task that
//     went on after it had read a request.
//   - What is guessed from times is called likely.
//   - What the control world does as well, as often, is not guessed to be of the
//     action's doing.
package causal

import (
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A Cause is how a node came of its parent.
type Cause string

// Causes. A root has none.
const (
	Started  Cause = "started"   // the parent started the process, thread or task
	Message  Cause = "message"   // it took what the parent sent, or connected
	Signal   Cause = "signal"    // the parent sent it, or ended a child
	SameTask Cause = "same task" // the task had taken the parent up, and worked on it
	Time     Cause = "time"      // another task of the process took the parent up shortly before
)

// Confidence says how sure a cause is.
type Confidence string

// Confidences.
const (
	Certain Confidence = "certain"
	Likely  Confidence = "likely"
)

// Doers: by whose doing something happened in the end.
const (
	ByAction = "action" // of the action
	ByCheck  = "check"  // of a probe
	ByItself = "itself" // of a process of its own accord, or nobody knows
)

// Kinds of nodes that are no events.
const (
	KindProcess = "process" // a process that was there, or whose start was not seen
	KindTask    = "task"    // a goroutine or so, whose maker is known
)

// A Node is an event, a process or a task in the tree.
type Node struct {
	// ID counts from 1. A parent's is lower than its children's.
	ID         int        `json:"id"`
	Parent     int        `json:"parent,omitempty"`
	Cause      Cause      `json:"cause,omitempty"`
	Confidence Confidence `json:"confidence,omitempty"`
	// Doer is a By constant, and the same for all below a root.
	Doer string `json:"doer"`
	// Background is set for what the control world does as often.
	Background bool `json:"background,omitempty"`
	// Failed is set for errors, exits that are not 0, what was blocked, and lines
	// of logs that tell of errors.
	Failed bool `json:"failed,omitempty"`
	// Process is the name of the process, and What the event in words.
	Process string `json:"process,omitempty"`
	What    string `json:"what"`
	// Event is what happened; Kind may also be one of the Kind constants.
	*model.Event
	Children []int `json:"children,omitempty"`
}

// Done is when the node's effect was there, since the release.
func (n *Node) Done() time.Duration { return n.At + n.Took }

// A Tree is the nodes of a world in the order of their ids.
type Tree struct {
	World string `json:"world"`
	// Roots are the ids of nodes without parents: the action first, then checks,
	// then the other processes.
	Roots []int  `json:"roots"`
	Nodes []Node `json:"nodes"`
}

// Node returns the node with an id of this tree, nil for others.
func (t *Tree) Node(id int) *Node {
	if 0 < id && id <= len(t.Nodes) && t.Nodes[id-1].ID == id {
		return &t.Nodes[id-1]
	}
	i, found := slices.BinarySearchFunc(t.Nodes, id, func(n Node, id int) int { return n.ID - id })
	if !found {
		return nil
	}
	return &t.Nodes[i]
}

// Build makes the tree of w. The other world may be nil; what it does too is
// then not known.
func Build(w, other *model.World) *Tree {
	b := newBuilder(w, other)
	for _, i := range b.streams.order {
		b.add(i)
	}
	b.silent()
	b.align()
	return b.finish()
}
