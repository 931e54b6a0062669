package causal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

const ms = time.Millisecond

const conn = "tcp 127.0.0.1:40000 127.0.0.1:2379"

// processes are two members, and an action that started one process.
func processes() []model.Process {
	return []model.Process{
		{PID: 10, Member: "n1", Phantom: true, Args: []string{"/usr/bin/kv"}},
		{PID: 20, Member: "n2", Phantom: true, Args: []string{"/usr/bin/kv"}},
		{PID: 30, Cause: model.CauseAction, Args: []string{"sh", "fix.sh"}, Started: 100 * ms},
		{PID: 31, Parent: 30, Cause: model.CauseAction, Args: []string{"/bin/kill", "-TERM", "20"}, Started: 150 * ms},
		{PID: 40, Cause: model.CauseCheck, Args: []string{"sh"}, Started: 50 * ms},
	}
}

func trial(events ...model.Event) *model.World {
	return &model.World{Name: "trial", Action: &model.CommandResult{PID: 30}, Processes: processes(), Events: events, Lifetime: time.Second}
}

// edges are the tree as text: a line for each event, with its cause.
func edges(t *Tree) string {
	var b strings.Builder
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Kind == KindProcess {
			continue
		}
		of := "nothing"
		if n.Parent != 0 {
			up := t.Node(n.Parent)
			of = fmt.Sprintf("%s %d %s%s", up.Kind, up.PID, up.Task, up.Object)
		}
		fmt.Fprintf(&b, "%s %d %s%s: %s, %s %s of %s\n", n.Kind, n.PID, n.Task, n.Object, n.Doer, n.Cause, n.Confidence, of)
	}
	return b.String()
}

func check(t *testing.T, tree *Tree, want string) {
	t.Helper()
	if got := edges(tree); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
	checkSound(t, tree)
}

// checkSound checks what holds of all trees.
func checkSound(t *testing.T, tree *Tree) {
	t.Helper()
	seen := 0
	for i := range tree.Nodes {
		n := &tree.Nodes[i]
		if n.ID != i+1 || n.Parent >= n.ID || (n.Parent == 0) != (n.Cause == "") || n.What == "" || n.Doer == "" {
			t.Errorf("node %+v", n)
		}
		for _, c := range n.Children {
			if tree.Node(c).Parent != n.ID {
				t.Errorf("child %d of %d has parent %d", c, n.ID, tree.Node(c).Parent)
			}
			seen++
		}
	}
	if seen+len(tree.Roots) != len(tree.Nodes) {
		t.Errorf("%d children, %d roots, %d nodes", seen, len(tree.Roots), len(tree.Nodes))
	}
}

// asked is what a client does to ask a server, and what both do then.
func asked(rest ...model.Event) []model.Event {
	return append([]model.Event{
		{At: 200 * ms, PID: 30, TID: 30, Kind: "connect", Conn: conn},
		{At: 190 * ms, Took: 11 * ms, PID: 10, TID: 11, Member: "n1", Kind: "accept", Conn: conn},
		{At: 202 * ms, PID: 30, TID: 30, Kind: "send", Conn: conn, Bytes: 30},
		{At: 201 * ms, Took: 2 * ms, PID: 10, TID: 12, Member: "n1", Kind: "receive", Conn: conn, Bytes: 10},
		{At: 203 * ms, Took: 1 * ms, PID: 10, TID: 12, Member: "n1", Kind: "receive", Conn: conn, Offset: 10, Bytes: 20},
	}, rest...)
}

func TestRequestAndAnswer(t *testing.T) {
	tree := Build(trial(asked(
		model.Event{At: 205 * ms, PID: 10, TID: 12, Kind: "write", Object: "wal"},
		model.Event{At: 206 * ms, PID: 10, TID: 12, Kind: "send", Conn: conn, Bytes: 5},
		model.Event{At: 203 * ms, Took: 4 * ms, PID: 30, TID: 30, Kind: "receive", Conn: conn, Bytes: 5},
		model.Event{At: 208 * ms, PID: 30, TID: 30, Kind: "create", Object: "out"},
		model.Event{At: 207 * ms, PID: 10, TID: 12, Kind: "log", Object: "done"},
		model.Event{At: 300 * ms, PID: 10, TID: 12, Kind: "log", Object: "later"},
	)...), nil)
	check(t, tree, `
connect 30 : action, same task certain of process 30 sh fix.sh
accept 10 : action, message certain of connect 30 
send 30 : action, same task certain of process 30 sh fix.sh
receive 10 : action, message certain of send 30 
receive 10 : action, message certain of send 30 
write 10 wal: action, same task certain of receive 10 
send 10 : action, same task certain of receive 10 
receive 30 : action, message certain of send 10 
log 10 done: action, same task certain of receive 10 
create 30 out: action, same task certain of process 30 sh fix.sh
log 10 later: action, same task likely of receive 10 
`)
	if w := tree.Node(tree.Roots[0]); w.What != "sh fix.sh" || w.Process != "sh" || len(tree.Roots) != 4 {
		t.Errorf("roots %v, first %+v", tree.Roots, w)
	}
}

func TestTheEventLoop(t *testing.T) {
	// Two requests are read before the first is answered. Each answer goes back
	// over its own connection, and a timer between them is nobody's.
	const other = "tcp 127.0.0.1:40001 127.0.0.1:2379"
	timer := model.Event{At: 204 * ms, PID: 10, TID: 10, Member: "n1", Kind: "write", Object: "cron"}
	w := trial(
		model.Event{At: 200 * ms, PID: 30, TID: 30, Kind: "send", Conn: conn, Bytes: 30},
		model.Event{At: 200 * ms, PID: 40, TID: 40, Kind: "send", Conn: other, Bytes: 30},
		model.Event{At: 201 * ms, PID: 10, TID: 10, Member: "n1", Kind: "receive", Conn: other, Bytes: 30},
		model.Event{At: 202 * ms, PID: 10, TID: 10, Member: "n1", Kind: "receive", Conn: conn, Bytes: 30},
		model.Event{At: 203 * ms, PID: 10, TID: 10, Member: "n1", Kind: "send", Conn: other, Bytes: 1},
		timer,
		model.Event{At: 205 * ms, PID: 10, TID: 10, Member: "n1", Kind: "send", Conn: conn, Bytes: 1},
	)
	control := &model.World{Lifetime: time.Second, Events: []model.Event{timer}}
	check(t, Build(w, control), `
send 30 : action, same task certain of process 30 sh fix.sh
send 40 : check, same task certain of process 40 sh
receive 10 : check, message certain of send 40 
receive 10 : action, message certain of send 30 
send 10 : check, same task likely of receive 10 
write 10 cron: itself, same task likely of process 10 /usr/bin/kv
send 10 : action, same task likely of receive 10 
`)
}

func TestWorkers(t *testing.T) {
	// Thread 13 is handed the request of thread 12, and answers it. Thread 14 does
	// something long after.
	check(t, Build(trial(asked(
		model.Event{At: 205 * ms, PID: 10, TID: 13, Kind: "write", Object: "wal"},
		model.Event{At: 206 * ms, PID: 10, TID: 13, Kind: "send", Conn: conn, Bytes: 5},
		model.Event{At: 290 * ms, PID: 10, TID: 14, Kind: "write", Object: "other"},
	)...), nil), `
connect 30 : action, same task certain of process 30 sh fix.sh
accept 10 : action, message certain of connect 30 
send 30 : action, same task certain of process 30 sh fix.sh
receive 10 : action, message certain of send 30 
receive 10 : action, message certain of send 30 
write 10 wal: action, same task likely of receive 10 
send 10 : action, same task likely of receive 10 
write 10 other: itself, same task likely of process 10 /usr/bin/kv
`)
}

func TestTasks(t *testing.T) {
	// Goroutine 7 is made for a request, and its thread is that of another.
	events := asked(model.Event{At: 206 * ms, PID: 10, TID: 11, Kind: "create", Object: "snap", Task: "goroutine 7", Maker: "goroutine 6, kv.save"})
	for i := range events {
		if events[i].TID == 12 {
			events[i].Task, events[i].Maker = "goroutine 6", "goroutine 1, kv.serve"
		}
		if events[i].TID == 11 && events[i].Task == "" {
			events[i].Task = "goroutine 1"
		}
	}
	tree := Build(trial(events...), nil)
	last := &tree.Nodes[len(tree.Nodes)-1]
	for last.Kind != "create" {
		last = tree.Node(last.ID - 1)
	}
	task := tree.Node(last.Parent)
	if task.Kind != KindTask || task.What != "started goroutine 7 at kv.save" || task.Cause != Started || tree.Node(task.Parent).Kind != "receive" {
		t.Errorf("got %+v below %+v", last, task)
	}
	checkSound(t, tree)
}

func TestProcessesAndSignals(t *testing.T) {
	tree := Build(trial(
		model.Event{At: 149 * ms, PID: 30, TID: 30, Kind: "start", Child: 31},
		model.Event{At: 150 * ms, PID: 31, TID: 31, Kind: "exec", Object: "/bin/kill -TERM 20"},
		model.Event{At: 151 * ms, PID: 20, TID: 20, Member: "n2", Kind: "signal", Object: "SIGTERM"},
		model.Event{At: 152 * ms, PID: 20, TID: 20, Member: "n2", Kind: "log", Object: "shutting down"},
		model.Event{At: 153 * ms, PID: 20, Member: "n2", Kind: "exit", Object: "SIGTERM"},
		model.Event{At: 154 * ms, PID: 31, Kind: "exit", Object: "0"},
		model.Event{At: 155 * ms, PID: 30, TID: 30, Kind: "signal", Object: "SIGCHLD"},
		model.Event{At: 155 * ms, PID: 30, TID: 30, Kind: "start", Child: 32},
		model.Event{At: 155 * ms, PID: 32, Kind: "exit", Object: "2"},
		model.Event{At: 155 * ms, PID: 30, TID: 30, Kind: "signal", Object: "SIGCHLD"},
		model.Event{At: 156 * ms, PID: 10, TID: 10, Member: "n1", Kind: "start", Child: 99},
		model.Event{At: 157 * ms, PID: 10, TID: 99, Member: "n1", Kind: "write", Object: "x"},
	), nil)
	check(t, tree, `
start 30 : action, same task certain of process 30 sh fix.sh
exec 31 /bin/kill -TERM 20: action, started certain of start 30 
signal 20 SIGTERM: action, signal likely of start 30 
log 20 shutting down: action, same task likely of signal 20 SIGTERM
exit 20 SIGTERM: action, signal certain of signal 20 SIGTERM
exit 31 0: action, same task certain of start 30 
signal 30 SIGCHLD: action, signal certain of exit 31 0
start 30 : action, same task certain of process 30 sh fix.sh
exit 32 2: action, same task certain of start 30 
signal 30 SIGCHLD: action, signal certain of exit 32 2
start 10 : itself, same task likely of process 10 /usr/bin/kv
write 10 x: itself, started certain of start 10 
`)
}

func TestEndOfAConnection(t *testing.T) {
	check(t, Build(trial(asked(
		model.Event{At: 207 * ms, PID: 30, TID: 30, Kind: "close", Conn: conn},
		model.Event{At: 205 * ms, Took: 3 * ms, PID: 10, TID: 12, Kind: "receive", Conn: conn, Offset: 30},
		model.Event{At: 209 * ms, PID: 10, TID: 12, Kind: "log", Object: "client is gone"},
	)...), nil), `
connect 30 : action, same task certain of process 30 sh fix.sh
accept 10 : action, message certain of connect 30 
send 30 : action, same task certain of process 30 sh fix.sh
receive 10 : action, message certain of send 30 
receive 10 : action, message certain of send 30 
close 30 : action, same task certain of process 30 sh fix.sh
receive 10 : action, message certain of close 30 
log 10 client is gone: action, same task certain of receive 10 
`)
}

func TestBytesOfTheSnapshotAreNobodys(t *testing.T) {
	check(t, Build(trial(
		model.Event{At: 1 * ms, PID: 20, TID: 20, Kind: "receive", Conn: conn, Bytes: 8},
		model.Event{At: 2 * ms, PID: 20, TID: 20, Kind: "write", Object: "x"},
		model.Event{At: 3 * ms, PID: 10, TID: 10, Kind: "send", Conn: conn, Bytes: 8, Offset: 8},
	), nil), `
receive 20 : itself, same task likely of process 20 /usr/bin/kv
write 20 x: itself, same task certain of receive 20 
send 10 : itself, same task likely of process 10 /usr/bin/kv
`)
}

// TestDamagedEvents builds trees of events that no tracer should write.
func TestDamagedEvents(t *testing.T) {
	for name, w := range map[string]*model.World{
		"none":              {},
		"unknown process":   {Events: []model.Event{{PID: 5, Kind: "write"}, {Kind: "strange", Object: "x"}}},
		"a ring of parents": {Processes: []model.Process{{PID: 1, Parent: 2}, {PID: 2, Parent: 1}}, Events: []model.Event{{PID: 1, Kind: "write"}}},
		"starts itself":     {Processes: []model.Process{{PID: 1, Parent: 1}}, Events: []model.Event{{PID: 1, TID: 1, Kind: "start", Child: 1}}},
		"a reply before its request": {Events: []model.Event{
			{At: 1, PID: 1, TID: 1, Kind: "receive", Conn: conn, Bytes: 4}, {At: 2, PID: 1, TID: 1, Kind: "send", Conn: conn, Bytes: 4},
			{At: 1, PID: 2, TID: 2, Kind: "receive", Conn: conn, Bytes: 4}, {At: 2, PID: 2, TID: 2, Kind: "send", Conn: conn, Bytes: 4}}},
		"no connection": {Events: []model.Event{{PID: 1, Kind: "send", Bytes: 1}, {PID: 2, Kind: "receive", Bytes: 1}, {PID: 2, Kind: "accept"}}},
		"a strange one": {Events: []model.Event{{PID: 1, Kind: "send", Conn: "x", Bytes: 1}, {PID: 1, Kind: "receive", Conn: "x", Bytes: -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := Build(w, w)
			checkSound(t, tree)
			if len(tree.Nodes) < len(w.Events) {
				t.Errorf("%d nodes of %d events", len(tree.Nodes), len(w.Events))
			}
		})
	}
}

func TestBackground(t *testing.T) {
	control := &model.World{Lifetime: time.Second}
	w := trial()
	for i := range 100 {
		at := time.Duration(i) * 10 * ms
		file := fmt.Sprintf("wal-%05d", i)
		control.Events = append(control.Events, model.Event{At: at, PID: 10, TID: 11, Member: "n1", Kind: "write", Object: file})
		w.Events = append(w.Events,
			model.Event{At: at, PID: 10, TID: 11, Member: "n1", Kind: "write", Object: file},
			model.Event{At: at, PID: 10, TID: 12, Member: "n1", Kind: "send", Conn: conn, Bytes: 100},
			model.Event{At: at, PID: 20, TID: 11, Member: "n2", Kind: "write", Object: file})
		if i < 40 {
			control.Events = append(control.Events, model.Event{At: at, PID: 10, TID: 12, Member: "n1", Kind: "send", Conn: conn, Bytes: 100})
		}
	}
	for i, usual := range background(w, control) {
		if want := i%3 == 0; usual != want {
			t.Errorf("%+v is background: %v", w.Events[i], usual)
		}
	}
	// Another thread does more of the same; that of the control is known by its number.
	for i := range 300 {
		w.Events = append(w.Events, model.Event{At: time.Duration(i) * ms, PID: 10, TID: 99, Member: "n1", Kind: "write", Object: "wal-7"})
	}
	for i, usual := range background(w, control) {
		if e := w.Events[i]; usual != (e.PID == 10 && e.TID == 11) {
			t.Errorf("%+v is background: %v", e, usual)
		}
	}
}

func TestTemplate(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"wal/0000000000000001-00ff.wal": "wal/#-#.wal",
		"raft12 became leader":          "raft# became leader",
		"deadbeef cafe":                 "deadbeef cafe",
		"127.0.0.1:80":                  "#.#.#.#:#",
		"größe 7":                       "größe #",
	} {
		if got := template(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestMaker(t *testing.T) {
	for in, want := range map[string][2]string{
		"goroutine 7, main.serve":                  {"goroutine 7", "main.serve"},
		"goroutine 7 at main.serve":                {"goroutine 7", "main.serve"},
		"created by main.serve in goroutine 7":     {"goroutine 7", "main.serve"},
		"main.serve in goroutine 7":                {"goroutine 7", "main.serve"},
		"pool-1-thread-2, java.lang.Thread.start0": {"pool-1-thread-2", "java.lang.Thread.start0"},
		"goroutine 7":                              {"goroutine 7", ""},
	} {
		if task, place := maker(in); task != want[0] || place != want[1] {
			t.Errorf("%q: got %q, %q", in, task, place)
		}
	}
}

func TestByMaking(t *testing.T) {
	// In the order of their first events. 20 was made before 21, and 19 before
	// both; 40 and the unnumbered one tell nothing of others.
	b := &builder{}
	for _, task := range []string{"goroutine 20", "goroutine 21", "main", "goroutine 40", "goroutine 19", "goroutine 17"} {
		b.nodes = append(b.nodes, Node{Event: &model.Event{Task: task}})
	}
	if got := b.byMaking([]int{0, 1, 2, 3, 4, 5}); !slices.Equal(got, []int{4, 0, 1, 2, 3, 5}) {
		t.Errorf("got %v", got)
	}
}

// busy is a world of n events: clients that ask a server, which asks another.
func busy(n int) *model.World {
	w := trial()
	at := time.Duration(0)
	offsets := map[string]int64{}
	add := func(e model.Event) {
		at += 5 * time.Microsecond
		e.At = at
		w.Events = append(w.Events, e)
	}
	for i := 0; len(w.Events) < n; i++ {
		one, two := fmt.Sprintf("tcp 10.0.0.1:%d 10.0.0.2:80", i%100), fmt.Sprintf("tcp 10.0.0.2:%d 10.0.0.3:80", i%10)
		front, task := 100+i%100, fmt.Sprintf("goroutine %d", 20+i%50)
		add(model.Event{PID: 30, TID: 30, Kind: "send", Conn: one, Offset: offsets[one], Bytes: 10})
		add(model.Event{PID: 10, TID: front, Member: "n1", Kind: "receive", Conn: one, Offset: offsets[one], Bytes: 10})
		add(model.Event{PID: 10, TID: front, Member: "n1", Kind: "send", Conn: two, Offset: offsets[two], Bytes: 10})
		add(model.Event{PID: 20, TID: 21, Member: "n2", Kind: "receive", Conn: two, Offset: offsets[two], Bytes: 10, Task: "goroutine 8"})
		add(model.Event{PID: 20, TID: 22, Member: "n2", Kind: "write", Object: fmt.Sprintf("/data/file-%d", i), Task: task})
		add(model.Event{PID: 20, TID: 22, Member: "n2", Kind: "log", Object: fmt.Sprintf("stored %d of %x", i, i), Task: task})
		add(model.Event{PID: 20, TID: 22, Member: "n2", Kind: "send", Conn: two, Offset: offsets[two], Bytes: 10, Task: task})
		add(model.Event{PID: 10, TID: front, Member: "n1", Kind: "receive", Conn: two, Offset: offsets[two], Bytes: 10})
		add(model.Event{PID: 10, TID: front, Member: "n1", Kind: "send", Conn: one, Offset: offsets[one], Bytes: 10})
		add(model.Event{PID: 30, TID: 30, Kind: "receive", Conn: one, Offset: offsets[one], Bytes: 10})
		offsets[one], offsets[two] = offsets[one]+10, offsets[two]+10
	}
	w.Lifetime = at
	return w
}

func TestMany(t *testing.T) {
	w := busy(20_000)
	tree := Build(w, nil)
	checkSound(t, tree)
	for i := range tree.Nodes {
		if n := &tree.Nodes[i]; n.Doer != ByAction && n.Kind != KindProcess {
			t.Fatalf("%+v", n)
		}
	}
}

// BenchmarkBuild has 200 000 events, and as many in the control. The goal is a
// second.
func BenchmarkBuild(b *testing.B) {
	w, control := busy(200_000), busy(200_000)
	for b.Loop() {
		Build(w, control)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/tree")
}
