package causal

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestSelect(t *testing.T) {
	tree := Build(trial(asked(
		model.Event{At: 205 * ms, PID: 10, TID: 12, Member: "n1", Kind: "write", Object: "wal", Error: "ENOSPC"},
		model.Event{At: 206 * ms, PID: 10, TID: 12, Member: "n1", Kind: "create", Object: "x"},
		model.Event{At: 300 * ms, PID: 20, TID: 22, Member: "n2", Kind: "write", Object: "y"},
	)...), nil)
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{Errors: true}, "sh fix.sh; sent 30 B over 127.0.0.1:2379; received 10 B over 127.0.0.1:2379; wrote wal; "},
		{Filter{Member: "n2"}, "/usr/bin/kv; wrote y; "},
		{Filter{Member: "n2", Errors: true}, ""},
		{Filter{Member: "n1", Errors: true, Depth: 1}, "sh fix.sh; sent 30 B over 127.0.0.1:2379; "},
		{Filter{Since: 250 * ms}, "/usr/bin/kv; wrote y; "},
	} {
		got := ""
		s := tree.Select(c.f)
		for i := range s.Nodes {
			n := &s.Nodes[i]
			got += n.What + "; "
			if s.Node(n.ID) != n || tree.Node(n.ID).What != n.What {
				t.Errorf("%+v: node %d is another", c.f, n.ID)
			}
			for _, id := range n.Children {
				if s.Node(id) == nil {
					t.Errorf("%+v: node %d has lost its child %d", c.f, n.ID, id)
				}
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.f, got, c.want)
		}
	}
	if all := tree.Select(Filter{}); fmt.Sprint(all) != fmt.Sprint(tree) {
		t.Errorf("got %+v, want %+v", all, tree)
	}
}

func TestFailed(t *testing.T) {
	f := failures{}
	for want, list := range map[bool][]model.Event{
		true: {{Kind: "connect", Error: "ECONNREFUSED"}, {Kind: "blocked"}, {Kind: "exit", Object: "SIGKILL"}, {Kind: "exit", Object: "2"},
			{Kind: "log", Object: "level=error msg=\"no space\""}, {Kind: "log", Object: "level=error msg=\"no space\""}},
		false: {{Kind: "receive", Error: "EAGAIN"}, {Kind: "exit", Object: "0"}, {Kind: "exit", TID: 7, Object: "1"}, {Kind: "log", Object: "level=info msg=\"no error\""}, {Kind: "write"}},
	} {
		for _, e := range list {
			if f.failed(&e) != want {
				t.Errorf("%+v: failed is not %v", e, want)
			}
		}
	}
}

// TestWay: a client makes a server do what ends it.
func TestWay(t *testing.T) {
	const conn = "tcp 127.0.0.1:1 127.0.0.1:2"
	w := &model.World{
		Name: "trial",
		Processes: []model.Process{
			{PID: 5, Member: "kv", Phantom: true, Args: []string{"kvd"}},
			{PID: 9, Cause: model.CauseAction, Args: []string{"ctl", strings.Repeat("x", 300)}, Started: 1},
		},
		Action: &model.CommandResult{PID: 9},
		Events: []model.Event{
			{At: 10, PID: 9, TID: 9, Kind: model.EventSend, Conn: conn, Bytes: 40},
			{At: 20, PID: 5, TID: 5, Member: "kv", Kind: model.EventReceive, Conn: conn, Bytes: 40},
			{At: 30, PID: 5, TID: 5, Member: "kv", Kind: model.EventExit, Object: "2"},
		},
	}
	tree := Build(w, nil)
	end := tree.Ended(5)
	if end == nil {
		t.Fatal("the end was not found")
	}
	way := tree.Way(end)
	if len(way) != 3 || !strings.HasPrefix(way[1], "ctl(9) sent 40 B") || way[2] != "kv(5) exited with 2" || len(way[0]) > mostWords+len("…") {
		t.Errorf("%q", way)
	}
	if tree.Ended(9) != nil {
		t.Error("what goes on has ended")
	}
}
