package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// A traceEvent is one of the Trace Event Format of Chrome, which Perfetto reads.
// Times are microseconds.
type traceEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	TS    float64        `json:"ts"`
	Dur   float64        `json:"dur,omitempty"`
	ID    int            `json:"id,omitempty"`
	Bind  string         `json:"bp,omitempty"`
	Color string         `json:"cname,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// firstTask is the lowest number of a track that is a task: no thread has it,
// see PID_MAX_LIMIT in include/linux/threads.h.
const firstTask = 4 << 20

// A track is a line of the display: a thread, or a task.
type track struct{ pid, tid int }

// perfetto collects the events of a tree.
type perfetto struct {
	t      *causal.Tree
	tracks map[string]track
	names  []traceEvent // of processes and tracks
	known  map[int]bool // processes that have a name
	drawn  map[edge]bool
	events []traceEvent
}

// TreePerfetto writes t in the Trace Event Format: processes, their threads and
// tasks are tracks, and arrows lead from a message to its receipt, and from what
// started something to what it did.
func TreePerfetto(w io.Writer, t *causal.Tree, run *model.Report) error {
	p := &perfetto{t: t, tracks: map[string]track{}, known: map[int]bool{}, drawn: map[edge]bool{}}
	for i := range t.Nodes {
		p.node(&t.Nodes[i])
	}
	for i := range t.Nodes {
		p.flow(&t.Nodes[i])
	}
	slices.SortStableFunc(p.events, func(a, b traceEvent) int { return cmp.Compare(a.TS, b.TS) })
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{
		"displayTimeUnit": "ms",
		"otherData":       map[string]string{"run": run.ID, "world": t.World, "tool": run.Tool, "action": strings.Join(run.Spec.Action, " ")},
		"traceEvents":     append(p.names, p.events...),
	})
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// length is how long n is drawn, in microseconds: a slice of no length cannot be
// seen, nor have an arrow.
func length(n *causal.Node) float64 { return max(1, micros(n.Took)) }

func (p *perfetto) node(n *causal.Node) {
	at := p.track(n)
	if n.Kind == causal.KindProcess || n.Kind == causal.KindTask {
		return // a track is all they are
	}
	e := traceEvent{Name: n.What, Cat: n.Doer, Phase: "X", PID: at.pid, TID: at.tid, TS: micros(n.At), Dur: length(n), Args: map[string]any{
		"node": n.ID, "kind": n.Kind,
	}}
	for key, v := range map[string]string{"cause": string(n.Cause), "confidence": string(n.Confidence), "object": n.Object, "to": n.To,
		"conn": n.Conn, "error": n.Error, "stack": strings.Join(n.Stack, "\n")} {
		if v != "" {
			e.Args[key] = v
		}
	}
	if n.Background {
		e.Cat += ",background"
	}
	if n.Failed {
		e.Color = "terrible"
	}
	p.events = append(p.events, e)
}

// track returns that of n, which is named when it is new.
func (p *perfetto) track(n *causal.Node) track {
	if !p.known[n.PID] {
		p.known[n.PID] = true
		p.name("process_name", track{n.PID, n.PID}, strings.TrimSpace(n.Member+" "+n.Process))
	}
	name := n.Task
	if name == "" {
		tid := cmp.Or(n.TID, n.PID)
		name = fmt.Sprint("thread ", tid)
	}
	key := fmt.Sprint(n.PID, " ", name)
	at, ok := p.tracks[key]
	if !ok {
		at = track{n.PID, cmp.Or(n.TID, n.PID)}
		if n.Task != "" {
			at.tid = firstTask + len(p.tracks)
		}
		p.tracks[key] = at
		p.name("thread_name", at, name)
	}
	return at
}

func (p *perfetto) name(what string, at track, name string) {
	p.names = append(p.names, traceEvent{Name: what, Phase: "M", PID: at.pid, TID: at.tid, Args: map[string]any{"name": name}})
}

// An edge is where an arrow leads.
type edge struct {
	from int // a node
	to   track
}

// flow draws an arrow to n from what it came of, if that is on another track: one
// for all that a track has of it, but for messages.
func (p *perfetto) flow(n *causal.Node) {
	up := p.t.Node(n.Parent)
	for up != nil && up.Kind == causal.KindTask { // is not drawn
		up = p.t.Node(up.Parent)
	}
	if up == nil || up.Kind == causal.KindProcess || n.Kind == causal.KindTask {
		return
	}
	from, to := p.track(up), p.track(n)
	at := edge{up.ID, to}
	if from == to || p.drawn[at] && n.Cause != causal.Message {
		return
	}
	p.drawn[at] = true
	e := traceEvent{Name: string(n.Cause), Cat: "cause", Phase: "s", PID: from.pid, TID: from.tid, TS: micros(up.At), ID: n.ID}
	p.events = append(p.events, e)
	// An arrow ends at the slice around it, so a moment before its end.
	e.Phase, e.Bind, e.PID, e.TID, e.TS = "f", "e", to.pid, to.tid, micros(n.At)+length(n)-0.5
	p.events = append(p.events, e)
}
