//go:build linux

package relay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
)

// ReadFacts reads truths: the lines of all files whose names begin with "truth-".
func ReadFacts(r io.Reader) (facts []Fact, err error) {
	return lines[Fact](r)
}

func lines[T any](r io.Reader) (all []T, err error) {
	in := bufio.NewScanner(r)
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("line %q: %w", in.Text(), err)
		}
		all = append(all, v)
	}
	return all, in.Err()
}

// A Result is how well a tree agrees with the truth.
type Result struct {
	// True are the effects that were done for a request of the action and of which
	// there is an event, Claimed those that the tree says so of, Right those of both
	// with the same request.
	True, Claimed, Right int
	// Both are those that are said to be of the action and are, whatever the request.
	Both int
	// Unseen are effects that no event was recorded of.
	Unseen int
	// Wrong are the differences, some words each, and how often.
	Wrong map[string]int
}

// Precision is the share of what is claimed that is right.
func (r Result) Precision() float64 { return float64(r.Right) / float64(max(1, r.Claimed)) }

// Recall is the share of what is true that is found.
func (r Result) Recall() float64 { return float64(r.Right) / float64(max(1, r.True)) }

// add adds the counts of q.
func (r *Result) add(q Result) {
	r.True, r.Claimed, r.Both, r.Right = r.True+q.True, r.Claimed+q.Claimed, r.Both+q.Both, r.Right+q.Right
}

// String is a line, and one for each kind of difference.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d caused by the action, %d claimed, %d of them rightly, %d under the right request: precision %.3f, recall %.3f",
		r.True, r.Claimed, r.Both, r.Right, r.Precision(), r.Recall())
	var kinds []string
	for k := range r.Wrong {
		kinds = append(kinds, k)
	}
	sort.Slice(kinds, func(i, j int) bool { return r.Wrong[kinds[i]] > r.Wrong[kinds[j]] })
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n  %4d %s", r.Wrong[k], k)
	}
	return b.String()
}

// A truth is the facts, to be asked.
type truth struct {
	facts    []Fact
	requests map[Ref]Ref // what each was done for
	sends    map[Ref]Fact
}

func truthOf(facts []Fact) *truth {
	t := &truth{facts: facts, requests: map[Ref]Ref{}, sends: map[Ref]Fact{}}
	for _, f := range facts {
		if f.Effect.Kind == model.EventSend || f.Effect.Kind == model.EventConnect {
			t.sends[f.Effect] = f
		}
	}
	for i, f := range facts {
		if f.Cause == OfMessage {
			t.facts[i].Cause = t.sender(f.Effect)
		}
	}
	for _, f := range facts {
		t.requests[f.Cause] = OfItself
	}
	for _, f := range t.facts {
		if _, ok := t.requests[f.Effect]; ok {
			t.requests[f.Effect] = f.Cause
		}
	}
	return t
}

// sender is what the other end sent something for, or connected for.
func (t *truth) sender(to Ref) Ref {
	from := to
	from.Kind = model.EventSend
	if to.Kind == model.EventAccept {
		from.Kind = model.EventConnect
	}
	for _, m := range []string{Front, Back, ""} {
		from.Member = m
		if f, ok := t.sends[from]; ok && m != to.Member {
			return f.Cause
		}
	}
	return OfItself
}

// ofAction reports whether a request comes of the action in the end.
func (t *truth) ofAction(r Ref) bool {
	for r != OfItself && r != OfAction {
		r = t.requests[r]
	}
	return r == OfAction
}

// Score compares the tree of a world with the facts that its processes wrote.
func Score(tree *causal.Tree, facts []Fact) Result {
	t := truthOf(facts)
	res := Result{Wrong: map[string]int{}}
	found := map[Ref][]*causal.Node{}
	for i := range tree.Nodes {
		n := &tree.Nodes[i]
		r := refOf(n.Event)
		found[r] = append(found[r], n)
	}
	used := map[Ref]int{}
	for _, f := range t.facts {
		list := found[f.Effect]
		// What a file's name does not tell apart comes in the order of times.
		at := used[f.Effect]
		used[f.Effect]++
		if at >= len(list) {
			res.Unseen++
			continue
		}
		is := t.ofAction(f.Cause)
		if is {
			res.True++
		}
		n := list[at]
		cause := t.nearest(tree, n)
		claimed := n.Doer == causal.ByAction
		if claimed {
			res.Claimed++
		}
		if is && claimed {
			res.Both++
		}
		switch {
		case is && claimed && cause == f.Cause:
			res.Right++
		case is || claimed:
			res.Wrong[f.wrong(n, is, claimed)]++
		}
	}
	return res
}

func (f Fact) wrong(n *causal.Node, is, claimed bool) string {
	how := "under the wrong request"
	if !is {
		how = "not of the action"
	} else if !claimed {
		how = "missed"
	}
	name := f.Effect.Object
	if i := strings.LastIndexAny(name, "/"); i >= 0 {
		name = name[i+1:]
	}
	name = strings.TrimRight(name, "0123456789")
	return fmt.Sprintf("%s: %s %s %s by %s (%s)", how, f.Effect.Member, f.Effect.Kind, name, n.Cause, n.Confidence)
}

// nearest is the request, or the root, that the tree has n below.
func (t *truth) nearest(tree *causal.Tree, n *causal.Node) Ref {
	for n.Parent != 0 {
		n = tree.Node(n.Parent)
		if r := refOf(n.Event); n.Kind == model.EventReceive || n.Kind == model.EventAccept {
			if _, ok := t.requests[r]; ok {
				return r
			}
		}
	}
	if n.Doer == causal.ByAction {
		return OfAction
	}
	return OfItself
}
