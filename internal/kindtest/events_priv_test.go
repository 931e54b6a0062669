//go:build linux

package kindtest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/victim"
)

// busy is what the two busy victims say that they did.
type busy struct {
	dirs             [2]string // the server's, the client's
	first, second    string    // addresses of the client
	sent, received   int       // by the client, over the first connection since it was made
	server, answered int       // received by the server over both
}

// TestPrivEvents compares events with what two members did that talk to each
// other, to the byte.
func TestPrivEvents(t *testing.T) {
	for _, level := range []string{model.TraceEffects, model.TraceFull} {
		t.Run(level, func(t *testing.T) {
			s := stage(t, member{kind: "busy-server"}, member{kind: "busy-client"})
			b := busy{dirs: [2]string{filepath.Dir(s.logs[0]), filepath.Dir(s.logs[1])}}
			script := fmt.Sprintf("touch %[1]s/%[3]s %[2]s/%[3]s; sleep 0.02; until test -e %[1]s/%[4]s && test -e %[2]s/%[4]s; do sleep 0.02; done; cat %[1]s/%[4]s %[2]s/%[4]s",
				b.dirs[0], b.dirs[1], victim.Go, victim.Done)
			o := s.agent(t, request{Run: &model.Spec{Action: []string{"sh", "-c", script}, Trace: level}})
			if o.Report == nil {
				t.Fatal(o.Problems)
			}
			w := o.Report.Trial
			format := "received %d %d\nsent %d, received %d %d, as %s and %s"
			var again int
			if _, err := fmt.Sscanf(w.Action.Output, format, &b.server, &again, &b.sent, &b.received, &b.answered, &b.first, &b.second); err != nil {
				t.Fatalf("the members say %q: %v", w.Action.Output, err)
			}
			t.Cleanup(func() {
				if t.Failed() {
					for _, e := range w.Events {
						t.Logf("%+v", e)
					}
				}
			})
			if len(w.Incomplete) > 0 || len(w.Events) == 0 {
				t.Fatalf("%d events, incomplete: %q, gaps: %+v", len(w.Events), w.Incomplete, o.Report.Verdict.NotCovered)
			}
			wantFiles(t, w.Events, b)
			conn, unread := "tcp "+b.first+" 127.0.0.1:7431", int64(0)
			if i := slices.IndexFunc(w.Events, func(e model.Event) bool { return e.Conn == conn && e.Kind == model.EventSend }); i >= 0 {
				unread = w.Events[i].Offset // sent before the fork
			}
			if unread < rounds/2 {
				t.Errorf("%d bytes were unread at the fork", unread)
			}
			wantStream(t, w.Events, "busy-client", "busy-server", conn, unread, int64(b.sent))
			wantStream(t, w.Events, "busy-server", "busy-client", conn, 0, int64(b.received))
			conn = "tcp " + b.second + " 127.0.0.1:7431"
			wantStream(t, w.Events, "busy-client", "busy-server", conn, 0, int64(again))
			wantStream(t, w.Events, "busy-server", "busy-client", conn, 0, int64(b.answered))
			wantConnections(t, w.Events, b)
			wantProcesses(t, w)
			wantQuiet(t, o.Report.Control)
			if level == model.TraceFull {
				wantStacks(t, w.Events)
			}
		})
	}
}

// wantStream wants bytes from up to to, told without gaps at both ends, and the
// end of the stream.
func wantStream(t *testing.T, events []model.Event, sender, receiver, conn string, from, to int64) {
	t.Helper()
	for _, end := range []struct {
		member, kind string
		at           int64
	}{{sender, model.EventSend, from}, {receiver, model.EventReceive, 0}} {
		ended := end.kind == model.EventSend
		for _, e := range events {
			if e.Member != end.member || e.Kind != end.kind || e.Conn != conn {
				continue
			}
			if e.Offset != end.at || ended && e.Kind == model.EventReceive || e.Error != "" {
				t.Errorf("%s of %s: %+v, want it at %d", conn, end.member, e, end.at)
			}
			end.at += e.Bytes
			ended = ended || e.Bytes == 0
		}
		if end.at != to || !ended {
			t.Errorf("%s: %s %s up to %d, want %d; its end was seen: %v", conn, end.member, end.kind, end.at, to, ended)
		}
	}
}

// kindsOf lists a member's events that are chosen, as text.
func kindsOf(events []model.Event, chosen func(e model.Event) bool) (out []string) {
	for _, e := range events {
		if chosen(e) {
			text := strings.Join([]string{e.Member, e.Kind, e.Object, e.To, e.Error}, " ")
			if e.Kind == model.EventWrite {
				text += fmt.Sprintf("%d bytes in %d", e.Bytes, max(1, e.Count))
			}
			out = append(out, strings.Join(strings.Fields(text), " "))
		}
	}
	return out
}

func wantFiles(t *testing.T, events []model.Event, b busy) {
	t.Helper()
	dir := b.dirs[1] + "/"
	var want []string
	for _, line := range []string{
		"create a.new", "write a.new 300 bytes in 3", "sync a.new", "truncate a.new", "rename a.new a",
		"create sub", "create sub/b", "write sub/b 5 bytes in 1", "truncate sub/b", "write sub/b 7 bytes in 1",
		"create sub/c", "remove sub/c", "remove sub/b", "remove sub",
		"create done.new", "write done.new", "rename done.new done",
	} {
		words := strings.Fields(line)
		words[1] = dir + words[1]
		if words[0] == "rename" {
			words[2] = dir + words[2]
		}
		want = append(want, "busy-client "+strings.Join(words, " "))
	}
	got := kindsOf(events, func(e model.Event) bool {
		return e.Member == "busy-client" && strings.HasPrefix(e.Object, dir) && e.Object != dir+victim.Log
	})
	for i := range got {
		if strings.Contains(got[i], "write "+dir+"done") {
			got[i], _, _ = strings.Cut(got[i], "done.new ")
			got[i] += "done.new"
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantConnections(t *testing.T, events []model.Event, b busy) {
	t.Helper()
	const server = "tcp 127.0.0.1:7431"
	got := kindsOf(events, func(e model.Event) bool {
		return slices.Contains([]string{model.EventConnect, model.EventAccept, model.EventListen, model.EventClose}, e.Kind)
	})
	want := []string{
		"busy-client close " + server,
		"busy-server close tcp " + b.first,
		"busy-client connect " + server,
		"busy-server accept tcp " + b.second,
		"busy-client close " + server,
		"busy-server close tcp " + b.second,
		"busy-client connect tcp 127.0.0.1:7432 ECONNREFUSED",
	}
	// The two run side by side: the client may close before the server accepts.
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("connections:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantProcesses wants the action's programs, from their start to their end.
func wantProcesses(t *testing.T, w model.World) {
	t.Helper()
	var action []string
	for _, e := range w.Events {
		if e.PID == w.Action.PID && (e.Kind == model.EventExec || e.Kind == model.EventExit) {
			action = append(action, e.Kind+" "+strings.Fields(e.Object)[0])
		}
	}
	if want := []string{"exec sh", "exit 0"}; !slices.Equal(action, want) {
		t.Errorf("the action: %q, want %q", action, want)
	}
	for _, program := range []string{"touch", "sleep", "cat"} {
		i := slices.IndexFunc(w.Events, func(e model.Event) bool {
			return e.Kind == model.EventExec && strings.HasPrefix(e.Object, program+" ")
		})
		if i < 0 {
			t.Errorf("%s was not started", program)
			continue
		}
		pid := w.Events[i].PID
		if !slices.ContainsFunc(w.Events[:i], func(e model.Event) bool {
			return e.Kind == model.EventStart && e.PID == w.Action.PID && e.Child == pid
		}) {
			t.Errorf("nobody started %s, process %d", program, pid)
		}
		if !slices.ContainsFunc(w.Events[i:], func(e model.Event) bool {
			return e.Kind == model.EventExit && e.PID == pid && e.Object == "0"
		}) {
			t.Errorf("%s, process %d, did not end", program, pid)
		}
	}
	if n := len(kindsOf(w.Events, func(e model.Event) bool { return e.Kind == model.EventWrite && e.Object == "output" })); n == 0 {
		t.Error("cat wrote nothing")
	}
}

// wantQuiet wants what the members do by themselves, and nothing else.
func wantQuiet(t *testing.T, w model.World) {
	t.Helper()
	if len(w.Events) == 0 || len(w.Incomplete) > 0 {
		t.Errorf("control: %d events, incomplete: %q", len(w.Events), w.Incomplete)
	}
	for _, e := range w.Events {
		if e.Kind != model.EventWrite && e.Kind != model.EventSend && e.Kind != model.EventWait && e.Kind != model.EventStart {
			t.Errorf("control: %+v", e)
		}
	}
}

func wantStacks(t *testing.T, events []model.Event) {
	t.Helper()
	for _, c := range []struct{ kind, object, function string }{
		{model.EventSend, "", "victim.busyClient"}, {model.EventCreate, "a.new", "victim.busyFiles"},
		{model.EventConnect, "7432", "net.Dial"},
	} {
		if !slices.ContainsFunc(events, func(e model.Event) bool {
			return e.Kind == c.kind && strings.HasSuffix(e.Object, c.object) &&
				slices.ContainsFunc(e.Stack, func(f string) bool { return strings.Contains(f, c.function) })
		}) {
			t.Errorf("no %s of %q in %s", c.kind, c.object, c.function)
		}
	}
}

// TestPrivEventsOfQueues wants the offsets of connections that had full queues at
// the fork to go together: nobody receives what was not sent.
func TestPrivEventsOfQueues(t *testing.T) {
	s := stage(t, member{kind: "tcp-server"}, member{kind: "tcp-client"})
	o := s.agent(t, request{Run: &model.Spec{Action: []string{"true"}, Trace: model.TraceEffects}})
	if o.Report == nil {
		t.Fatal(o.Problems)
	}
	type end struct{ conn, member, kind string }
	first, next := map[end]int64{}, map[end]int64{}
	for _, e := range o.Report.Trial.Events {
		if e.Error != "" || e.Kind != model.EventSend && e.Kind != model.EventReceive {
			continue
		}
		at := end{e.Conn, e.Member, e.Kind}
		if have, known := next[at]; !known {
			first[at] = e.Offset
		} else if have != e.Offset {
			t.Errorf("%+v, want it at %d", e, have)
		}
		next[at] = e.Offset + e.Bytes
	}
	other, queued := map[string]string{"tcp-server": "tcp-client", "tcp-client": "tcp-server"}, 0
	for at, received := range next {
		if at.kind != model.EventReceive || received == 0 {
			continue
		}
		from := end{at.conn, other[at.member], model.EventSend}
		sent, sends := next[from]
		if sends && sent < received {
			t.Errorf("%s: %s received up to %d, sent was up to %d", at.conn, at.member, received, sent)
		}
		if first[at] != 0 {
			t.Errorf("%s: %s begins to receive at %d", at.conn, at.member, first[at])
		}
		if first[from] > 100<<10 {
			queued++
		}
	}
	if queued == 0 {
		t.Errorf("no connection had a full queue: %v", first)
	}
}
