package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const msec = time.Millisecond

// story is a run with something of every kind in its tree.
func story() (*causal.Tree, *model.Report) {
	const conn, up = "tcp 127.0.0.1:40000 127.0.0.1:2379", "tcp 127.0.0.1:41000 127.0.0.1:2380"
	one := func(e model.Event) model.Event { e.PID, e.Member, e.TID = 811, "etcd1", 815; return e }
	two := func(e model.Event) model.Event { e.PID, e.Member, e.TID = 812, "etcd2", 820; return e }
	heartbeat := one(model.Event{At: 120 * msec, Kind: "write", Object: "/var/lib/etcd1/heart\x1b[31mbeat", Task: "goroutine 2"})
	w := &model.World{
		Name: "trial", Action: &model.CommandResult{PID: 990}, Lifetime: time.Second,
		Processes: []model.Process{
			{PID: 811, Member: "etcd1", Phantom: true, Args: []string{"/usr/bin/etcd"}},
			{PID: 812, Member: "etcd2", Phantom: true, Args: []string{"/usr/bin/etcd"}},
			{PID: 990, Cause: model.CauseAction, Args: []string{"sh", "./recover.sh"}, Started: 100 * msec},
			{PID: 991, Parent: 990, Cause: model.CauseAction, Args: []string{"etcdctl", "member", "remove", "<3>"}, Started: 110 * msec},
			{PID: 700, Cause: model.CauseCheck, Args: []string{"sh", "-c", "etcdctl endpoint health"}, Started: 10 * msec},
		},
		Events: []model.Event{
			{At: 20 * msec, PID: 700, TID: 700, Kind: "create", Object: "/tmp/health"},
			{At: 110 * msec, PID: 990, TID: 990, Kind: "start", Child: 991},
			{At: 111 * msec, PID: 991, TID: 991, Kind: "connect", Conn: conn, Object: "127.0.0.1:2379", Task: "goroutine 1"},
			{At: 112 * msec, PID: 991, TID: 991, Kind: "send", Conn: conn, Object: "127.0.0.1:2379", Bytes: 80, Task: "goroutine 1"},
			one(model.Event{At: 90 * msec, Took: 23 * msec, Kind: "receive", Conn: conn, Object: "127.0.0.1:40000", Bytes: 80, Task: "goroutine 31"}),
			heartbeat,
			one(model.Event{At: 121 * msec, Kind: "write", Object: "/var/lib/etcd1/wal", Bytes: 700, Task: "goroutine 31"}),
			one(model.Event{At: 122 * msec, Kind: "write", Object: "/var/lib/etcd1/wal", Bytes: 3 << 20, Task: "goroutine 31"}),
			one(model.Event{At: 123 * msec, Took: msec, Kind: "sync", Object: "/var/lib/etcd1/wal", Task: "goroutine 31", Error: "EIO",
				Stack: []string{"syscall.Fsync", "wal.(*WAL).sync", "wal.(*WAL).Save", "raft.save", "main.main"}}),
			one(model.Event{At: 125 * msec, Kind: "send", Conn: up, Object: "127.0.0.1:2380", Bytes: 200, Task: "goroutine 40", Maker: "goroutine 31, rafthttp.post"}),
			two(model.Event{At: 124 * msec, Took: 2 * msec, Kind: "receive", Conn: up, Bytes: 200}),
			two(model.Event{At: 127 * msec, Kind: "rename", Object: "/var/lib/etcd2/a", To: "/var/lib/etcd2/b"}),
			two(model.Event{At: 128 * msec, Kind: "log", Object: `{"level":"error","msg":"lost leader"}`}),
			two(model.Event{At: 500 * msec, Kind: "remove", Object: "/var/lib/etcd2/old", Task: "goroutine 77"}),
			{At: 200 * msec, PID: 991, Kind: "exit", Object: "1"},
		},
	}
	control := &model.World{Name: "control", Lifetime: time.Second, Events: []model.Event{heartbeat}}
	return causal.Build(w, control), failing()
}

func TestTreeGolden(t *testing.T) {
	tree, run := story()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"tree.txt":     func(b *bytes.Buffer) error { return TreeText(b, tree, TreeOf{Run: run}) },
		"tree-all.txt": func(b *bytes.Buffer) error { return TreeText(b, tree, TreeOf{Run: run, All: true, Color: true}) },
		"tree-errors.txt": func(b *bytes.Buffer) error {
			return TreeText(b, tree.Select(causal.Filter{Errors: true}), TreeOf{Run: run})
		},
		"tree.json": func(b *bytes.Buffer) error {
			return indented(b, func(b *bytes.Buffer) error { return TreeJSON(b, tree, run) })
		},
		"tree-otlp.json": func(b *bytes.Buffer) error {
			return indented(b, func(b *bytes.Buffer) error { return TreeOTLP(b, tree, run) })
		},
		"tree-perfetto.json": func(b *bytes.Buffer) error {
			return indented(b, func(b *bytes.Buffer) error { return TreePerfetto(b, tree, run) })
		},
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// indented is what write writes, for people who compare golden files.
func indented(b *bytes.Buffer, write func(*bytes.Buffer) error) error {
	var flat bytes.Buffer
	if err := write(&flat); err != nil {
		return err
	}
	return json.Indent(b, flat.Bytes(), "", " ")
}

func TestTreeFollowsTheSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "tree.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	tree, run := story()
	for _, tr := range []*causal.Tree{tree, tree.Select(causal.Filter{Member: "none"}), causal.Build(&model.World{Name: "control"}, nil)} {
		var b bytes.Buffer
		if err := TreeJSON(&b, tr, run); err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Error(err)
		}
	}
	tree.Nodes[0].Doer = "nobody"
	var b bytes.Buffer
	if err := TreeJSON(&b, tree, run); err != nil {
		t.Fatal(err)
	}
	if v, err := jsonschema.UnmarshalJSON(&b); err != nil || schema.Validate(v) == nil {
		t.Errorf("an unknown doer is accepted, %v", err)
	}
}

// deep is a world in which two processes ask each other in turn, over a
// connection for each way, so that the tree is n deep.
func deep(n int) *model.World {
	w := &model.World{Name: "trial", Action: &model.CommandResult{PID: 1}, Processes: []model.Process{{PID: 1, Args: []string{"a"}}, {PID: 2, Args: []string{"b"}}}}
	for i := range n {
		from, conn, at := 1+i%2, [2]string{"tcp a:1 b:2", "tcp b:3 a:4"}[i%2], time.Duration(i)*msec
		w.Events = append(w.Events, model.Event{At: at, PID: from, TID: from, Kind: "send", Conn: conn, Offset: int64(i / 2), Bytes: 1},
			model.Event{At: at + msec/2, PID: 3 - from, TID: 3 - from, Kind: "receive", Conn: conn, Offset: int64(i / 2), Bytes: 1})
	}
	return w
}

func TestDeepTrees(t *testing.T) {
	tree := causal.Build(deep(20_000), nil)
	depth := 0
	for n := &tree.Nodes[len(tree.Nodes)-1]; n != nil; n = tree.Node(n.Parent) {
		depth++
	}
	if depth < 20_000 {
		t.Fatalf("the tree is %d deep", depth)
	}
	_, run := story()
	var b bytes.Buffer
	if err := TreeText(&b, tree, TreeOf{Run: run}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n > maxLines+20 || b.Len() > 200_000 {
		t.Errorf("%d lines, %d bytes", n, b.Len())
	}
	for _, write := range []func() error{func() error { return TreeOTLP(&b, tree, run) }, func() error { return TreePerfetto(&b, tree, run) },
		func() error { return TreeJSON(&b, tree, run) }} {
		if err := write(); err != nil {
			t.Error(err)
		}
	}
}

func TestOTLPInParts(t *testing.T) {
	tree, run := story()
	o := NewOTLP(tree, run)
	ids := map[string]bool{}
	parents := map[string]bool{}
	traces := map[string]bool{}
	for i := 0; i < o.Len(); i += 4 {
		var b bytes.Buffer
		if err := o.Write(&b, i, min(i+4, o.Len())); err != nil {
			t.Fatal(err)
		}
		var req otlpRequest
		if err := json.Unmarshal(b.Bytes(), &req); err != nil {
			t.Fatal(err)
		}
		for _, r := range req.ResourceSpans {
			for _, s := range r.ScopeSpans[0].Spans {
				if ids[s.SpanID] || len(s.SpanID) != 16 || len(s.TraceID) != 32 {
					t.Errorf("span %+v", s)
				}
				if s.Start > s.End {
					t.Errorf("span %s ends at %s before it begins at %s", s.Name, s.End, s.Start)
				}
				ids[s.SpanID], traces[s.TraceID] = true, true
				if s.Parent != "" {
					parents[s.Parent] = true
				}
			}
		}
	}
	if len(ids) != o.Len()+1 || len(traces) != 1 {
		t.Errorf("%d spans of %d nodes in %d traces", len(ids), o.Len(), len(traces))
	}
	for p := range parents {
		if !ids[p] {
			t.Errorf("parent %s has no span", p)
		}
	}
}

// TestPerfettoArrows checks that each arrow begins and ends in a slice.
func TestPerfettoArrows(t *testing.T) {
	tree, run := story()
	var b bytes.Buffer
	if err := TreePerfetto(&b, tree, run); err != nil {
		t.Fatal(err)
	}
	var doc struct{ TraceEvents []traceEvent }
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	arrows := map[int]string{}
	for _, f := range doc.TraceEvents {
		if f.Phase != "s" && f.Phase != "f" {
			continue
		}
		arrows[f.ID] += f.Phase
		inside := false
		for _, s := range doc.TraceEvents {
			inside = inside || s.Phase == "X" && s.PID == f.PID && s.TID == f.TID && s.TS <= f.TS && f.TS <= s.TS+s.Dur
		}
		if !inside {
			t.Errorf("arrow %+v is in no slice", f)
		}
	}
	if len(arrows) < 3 {
		t.Errorf("arrows: %v", arrows)
	}
	for id, phases := range arrows {
		if phases != "sf" {
			t.Errorf("arrow %d has %s", id, fmt.Sprintf("%q", phases))
		}
	}
}
