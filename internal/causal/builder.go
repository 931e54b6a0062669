package causal

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// none is the index of no node.
const none = -1

// A link is what the next thing comes of.
type link struct {
	node  int // index, not id
	cause Cause
	conf  Confidence
}

// A builder makes a tree, event by event in the order of [streams].
type builder struct {
	w       *model.World
	streams *streams
	usual   []bool // which events the other world has as often

	nodes  []Node
	nodeOf []int // of each event
	// asked is what a task was at when it sent something, by node.
	asked map[int]state

	procs     map[int]*process
	infos     map[int]*model.Process
	isProcess map[int]bool // of all numbers that a process has, in the end
	carriers  map[carrierKey]*carrier
	serving   map[carrierKey]*served // what is known of all of a carrier's events in advance

	roaming map[int]bool // processes whose threads run tasks that are not known

	pending  map[end]request // the last request over a connection that has no answer yet
	connects map[string]int  // nodes, by connection
	closes   map[end]int
	// childExits are the latest exits of children, by parent.
	childExits map[int]int
	killers    []killCommand
}

// A process is what is known of a process up to now.
type process struct {
	pid    int
	info   *model.Process
	parent int  // its pid, if known
	node   int  // root, start or stand-in
	born   bool // in this world
	tasks  bool
	// recent is what its carriers were at last, and rare what of it the other world
	// does not have.
	recent, rare recency
	// waiting are its requests without an answer, by connection.
	waiting map[string]request
	last    link // of its latest event
	exit    int
	// signals are the nodes of signals that were delivered, by name.
	signals map[string]int
}

// An activity is that a carrier was at work on a node.
type activity struct {
	node int
	by   *carrier
	at   time.Duration
}

// A request is a receipt that asks for something.
type request struct {
	node  int
	by    *carrier
	at    time.Duration
	usual bool // the other world has as many
}

func newBuilder(w, other *model.World) *builder {
	b := &builder{w: w, streams: newStreams(w), usual: background(w, other),
		nodes: make([]Node, 0, len(w.Events)+len(w.Processes)), nodeOf: make([]int, len(w.Events)), asked: map[int]state{},
		procs: map[int]*process{}, infos: map[int]*model.Process{}, isProcess: map[int]bool{}, carriers: map[carrierKey]*carrier{},
		pending: map[end]request{}, connects: map[string]int{}, closes: map[end]int{}, childExits: map[int]int{}, killers: killCommands(w)}
	for i := range b.nodeOf {
		b.nodeOf[i] = none
	}
	for i := range w.Processes {
		b.infos[w.Processes[i].PID] = &w.Processes[i]
	}
	for i := range w.Processes {
		b.isProcess[w.Processes[i].PID] = true
	}
	for i := range w.Events {
		b.isProcess[w.Events[i].PID] = true
	}
	b.roaming = roaming(w, b.streams.sides)
	b.serving = servedBy(w, b.streams.sides)
	return b
}

// node adds a node for e.
func (b *builder) node(e *model.Event, from link) int {
	n := Node{Event: e, Parent: from.node + 1}
	if from.node != none {
		n.Cause, n.Confidence = from.cause, from.conf
	}
	b.nodes = append(b.nodes, n)
	return len(b.nodes) - 1
}

// move gives node n another parent, which is older.
func (b *builder) move(n int, to link) {
	b.nodes[n].Parent, b.nodes[n].Cause, b.nodes[n].Confidence = to.node+1, to.cause, to.conf
}

// parent is the index of n's.
func (b *builder) parent(n int) int { return b.nodes[n].Parent - 1 }

// process returns the process pid, which gets a node of its own unless its start
// was seen.
func (b *builder) process(pid int) *process {
	if p := b.procs[pid]; p != nil {
		return p
	}
	p := &process{pid: pid, info: b.infos[pid], node: none, exit: none}
	b.procs[pid] = p // before its parents are asked: they may be in a ring
	e := &model.Event{PID: pid, Kind: KindProcess}
	from := link{none, "", ""}
	if p.info != nil {
		p.parent = p.info.Parent
		e.At, e.Member, e.Object = p.info.Started, p.info.Member, strings.Join(p.info.Args, " ")
		from = b.starter(p.info)
	}
	b.begin(p, b.node(e, from))
	return p
}

// begin sets the node that process p begins with.
func (b *builder) begin(p *process, node int) {
	p.node = node
	p.born = b.nodes[node].Kind == model.EventStart || p.info != nil && !p.info.Phantom
	p.last = p.base()
}

// starter is what a process came of whose start was not seen.
func (b *builder) starter(p *model.Process) link {
	root := link{none, "", ""}
	if p.Phantom || b.isAction(p.PID) {
		return root
	}
	if up := b.infos[p.Parent]; up != nil && up.PID != p.PID {
		if from := b.process(up.PID); from.node != none {
			return link{from.node, Started, Certain}
		}
	}
	if p.Cause == model.CauseAction && b.w.Action != nil && b.infos[b.w.Action.PID] != nil {
		if from := b.process(b.w.Action.PID); from.node != none {
			return link{from.node, Started, Likely}
		}
	}
	return root
}

func (b *builder) isAction(pid int) bool {
	return b.w.Action != nil && pid != 0 && pid == b.w.Action.PID
}

// silent adds the processes that no event is of.
func (b *builder) silent() {
	list := slices.Clone(b.w.Processes)
	slices.SortStableFunc(list, func(p, q model.Process) int { return int(p.Started - q.Started) })
	for _, p := range list {
		b.process(p.PID)
	}
}

// finish numbers nodes and tells by whose doing they are.
func (b *builder) finish() *Tree {
	t := &Tree{World: b.w.Name, Nodes: b.nodes, Roots: []int{}}
	fails := failures{}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		n.ID = i + 1
		n.Process = b.name(n.PID)
		n.What = what(n.Event)
		if c := b.infos[n.Child]; c != nil && n.Kind == model.EventStart && len(c.Args) > 0 {
			n.What += ": " + strings.Join(c.Args, " ")
		}
		n.Failed = fails.failed(n.Event)
		if n.Parent == 0 {
			n.Doer = b.doer(n.PID)
			t.Roots = append(t.Roots, n.ID)
			continue
		}
		up := t.Node(n.Parent)
		n.Doer = up.Doer
		up.Children = append(up.Children, n.ID)
	}
	for i, n := range b.nodeOf {
		if n != none {
			t.Nodes[n].Background = b.usual[i] && t.Nodes[n].Doer == ByItself
		}
	}
	rank := map[string]int{ByAction: 0, ByCheck: 1, ByItself: 2}
	slices.SortStableFunc(t.Roots, func(i, j int) int { return rank[t.Node(i).Doer] - rank[t.Node(j).Doer] })
	return t
}

// doer is by whose doing process pid is there.
func (b *builder) doer(pid int) string {
	p := b.infos[pid]
	switch {
	case b.isAction(pid), p != nil && p.Cause == model.CauseAction:
		return ByAction
	case p != nil && p.Cause == model.CauseCheck:
		return ByCheck
	}
	return ByItself
}

func (b *builder) name(pid int) string {
	if p := b.infos[pid]; p != nil && len(p.Args) > 0 {
		return path.Base(p.Args[0])
	}
	return ""
}
