//go:build linux

package trace

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/pilotexec/pilot/internal/model"
)

func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

func TestPrivOpen(t *testing.T) {
	privileged(t)
	for _, level := range []Level{Effects, Full} {
		tr, err := Open(level)
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			t.Fatalf("level %d: %+v", level, refused)
		}
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if err := errors.Join(tr.Attach(), tr.Close()); err != nil {
			t.Errorf("level %d: %v", level, err)
		}
	}
}

// TestPrivMerged wants every byte of a busy connection to be told once at both
// ends, however much of it is merged, and nothing of who is outside.
func TestPrivMerged(t *testing.T) {
	privileged(t)
	const before = 1000
	for level, requests := range map[Level]int{Effects: 20_000, Full: 5000} {
		inside := start(t, initName, syscall.CLONE_NEWPID)
		outside := start(t, serverName, 0)
		inside.do(t, before)
		server := child(t, inside.cmd.Process.Pid)
		tr, r := watch(t, level, inside.cmd.Process.Pid, server)
		inside.do(t, requests)
		outside.do(t, requests)
		time.Sleep(2 * window) // what comes now is told apart from it
		inside.do(t, requests)
		events, incomplete := r.Finish()
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		if len(incomplete) > 0 {
			t.Errorf("level %d: %q", level, incomplete)
		}
		// Both ends are in one process: the client's requests are sent by one and
		// received by the other, and so are the answers.
		at := map[string]int64{}
		conn := ""
		for _, e := range events {
			if e.PID != server || e.Member != "server" {
				t.Fatalf("level %d: of somebody else: %+v", level, e)
			}
			if e.Kind == model.EventSend || e.Kind == model.EventReceive {
				if conn == "" {
					conn = e.Conn
				}
				if e.Conn != conn || !strings.HasPrefix(conn, "tcp 127.0.0.1:") {
					t.Fatalf("level %d: another connection: %+v, want %s", level, e, conn)
				}
				at[e.Kind] += e.Bytes
			}
			if e.Kind == model.EventWrite && (e.Bytes != int64(2*requests)*64 || e.Count != 2*requests) {
				t.Errorf("level %d: %+v, want %d times 64 bytes", level, e, 2*requests)
			}
		}
		for _, kind := range []string{model.EventSend, model.EventReceive} {
			if want := int64(2*2*requests) * 64; at[kind] != want {
				t.Errorf("level %d: %s of %d bytes, want %d", level, kind, at[kind], want)
			}
		}
		wantSpans(t, level, events, before*64, int64(before+2*requests)*64)
		if level == Full {
			wantTasks(t, events)
		}
		// Four a window: two directions at two ends.
		if most := 20 + 4*int((events[len(events)-1].At-events[0].At)/window); level == Effects && len(events) > most {
			t.Errorf("%d events of one connection, want %d at most", len(events), most)
		}
		if level == Full && len(events) < 4*2*requests {
			t.Errorf("%d events of %d requests", len(events), 2*requests)
		}
	}
}

// wantTasks wants the two goroutines of a server, of which one has started the
// other.
func wantTasks(t *testing.T, events []model.Event) {
	t.Helper()
	makers := map[string]string{}
	for _, e := range events {
		if e.Kind == model.EventSend {
			makers[e.Task] = e.Maker
		}
	}
	if len(makers) != 2 || makers["goroutine 1"] != "" {
		t.Errorf("goroutines that send: %q", makers)
	}
	delete(makers, "goroutine 1")
	for task, maker := range makers {
		if !strings.HasPrefix(maker, "goroutine 1 at github.com/pilotexec/pilot/internal/trace.serve (bench_priv_test.go:") {
			t.Errorf("%s was started by %q", task, maker)
		}
	}
}

// wantSpans wants both directions of both kinds to cover the bytes from one
// place to another. Which direction it is an event does not tell here, but both
// have the same bytes: each place is covered twice.
func wantSpans(t *testing.T, level Level, events []model.Event, from, to int64) {
	t.Helper()
	for _, kind := range []string{model.EventSend, model.EventReceive} {
		begins, ends := map[int64]int{}, map[int64]int{}
		for _, e := range events {
			if e.Kind == kind {
				begins[e.Offset]++
				ends[e.Offset+e.Bytes]++
			}
		}
		begins[to] += 2
		ends[from] += 2
		for place, n := range begins {
			if ends[place] != n {
				t.Fatalf("level %d: %s: %d events begin at byte %d, and %d end", level, kind, n, place, ends[place])
			}
		}
	}
}
