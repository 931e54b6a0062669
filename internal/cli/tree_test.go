package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// recorded is an engine whose runs have events: the action asks etcd1, which
// fails, and writes n files after that.
func recorded(n int) *fake {
	const conn = "tcp 127.0.0.1:40000 127.0.0.1:2379"
	e := cluster()
	e.trial = model.World{
		Name: "trial", Action: &model.CommandResult{PID: 30},
		Processes: []model.Process{{PID: 11, Member: "etcd1", Phantom: true, Args: []string{"/usr/bin/etcd"}}, {PID: 30, Cause: model.CauseAction, Args: []string{"fix"}}},
		Events: []model.Event{
			{At: 1 * time.Millisecond, PID: 30, TID: 30, Kind: "send", Conn: conn, Bytes: 5},
			{At: 2 * time.Millisecond, PID: 11, TID: 12, Member: "etcd1", Kind: "receive", Conn: conn, Bytes: 5},
			{At: 3 * time.Millisecond, PID: 11, TID: 12, Member: "etcd1", Kind: "sync", Object: "/wal", Error: "EIO"},
		},
	}
	for i := range n {
		e.trial.Events = append(e.trial.Events, model.Event{At: time.Second, PID: 30, TID: 30, Kind: "create", Object: fmt.Sprintf("/tmp/%d", i)})
	}
	return e
}

func TestTree(t *testing.T) {
	b := newBench(t, recorded(2))
	b.want(ExitError, words("tree"), "no such run: none has a report yet")
	b.want(0, words("run --match etcd -- true"))
	if out := b.want(0, words("tree latest")); !strings.Contains(out, "→ etcd1(11)") || !strings.Contains(out, "synced /wal: EIO") || !strings.Contains(out, "created /tmp/1") {
		t.Errorf("got %s", out)
	}
	for args, want := range map[string]int{
		"":                        7,
		"--member etcd1":          5, // what etcd1 did, the request, the action, and etcd1 itself
		"--errors":                4,
		"--since 500ms":           3,
		"--depth 1":               5,
		"--errors --depth 1":      2,
		"--world control":         0,
		"--member etcd2":          0,
		"--since 1h --all latest": 0,
	} {
		var tree struct {
			Version int
			World   string
			Nodes   []struct{ ID int }
		}
		out := b.want(0, words("tree -o json "+args))
		if err := json.Unmarshal([]byte(out), &tree); err != nil || len(tree.Nodes) != want || tree.Version != 1 {
			t.Errorf("%s: got %d nodes, want %d: %v\n%s", args, len(tree.Nodes), want, err, out)
		}
	}
	for _, format := range []string{"otlp", "perfetto"} {
		if out := b.want(0, words("tree -o "+format)); !json.Valid([]byte(out)) || !strings.Contains(out, "synced /wal") {
			t.Errorf("%s: got %s", format, out)
		}
	}
	b.want(0, words("tree --world control"), "pilot: hint: no events were recorded in the control")
	if out := b.want(0, words("report -o html")); !strings.Contains(out, "Who caused what") {
		t.Error("the page of a stored run does not say who caused what")
	}
	if out := b.want(0, words("report -o json")); strings.Contains(out, "events") {
		t.Errorf("the report has events: %s", out)
	}
}

func TestTreeRejects(t *testing.T) {
	b := newBench(t, recorded(0))
	b.want(0, words("run --match etcd -- true"))
	for args, text := range map[string]string{
		"-o dot":                      `"dot" is not text, json, otlp or perfetto`,
		"a b":                         "pilot tree takes one run, got 2",
		"--world other":               `no world is called "other"`,
		"--depth -1":                  "not negative",
		"--member etcd9":              `has no member "etcd9"`,
		"--send 127.0.0.1:4318":       "no address of a collector",
		"--send unix:///run/otel":     "no address of a collector",
		"--send http://127.0.0.1:x/y": "no address of a collector",
	} {
		b.want(ExitUsage, words("tree "+args), text)
	}
}

func TestSend(t *testing.T) {
	b := newBench(t, recorded(5000))
	b.want(0, words("run --match etcd -- true"))
	var paths []string
	spans, status, answer := 0, http.StatusOK, `{"partialSuccess":{}}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []struct{ SpanID string } }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %v, %v", r.Header, err)
		}
		for _, rs := range body.ResourceSpans {
			spans += len(rs.ScopeSpans[0].Spans)
		}
		paths = append(paths, r.URL.Path)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	if out := b.want(0, words("tree --send "+srv.URL), "pilot: sent 5006 spans to "+srv.URL+"/v1/traces\n"); out != "" {
		t.Errorf("got %q", out)
	}
	if spans != 5006 || len(paths) != 3 || paths[0] != "/v1/traces" {
		t.Errorf("%d spans to %q", spans, paths)
	}
	b.want(0, words("tree --depth 1 --send "+srv.URL+"/own/path"))
	if last := paths[len(paths)-1]; last != "/own/path" {
		t.Errorf("sent to %s", last)
	}
	answer = `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}`
	b.want(ExitError, words("tree --send "+srv.URL), "rejected 3 spans: too old")
	status = http.StatusTooManyRequests
	b.want(ExitError, words("tree --send "+srv.URL), "answered 429 Too Many Requests")
	srv.Close()
	b.want(ExitError, words("tree --send "+srv.URL), "pilot: error: send tree: ")
}

// TestSendToACollector sends to the receiver of the OpenTelemetry collector.
func TestSendToACollector(t *testing.T) {
	if os.Getenv("PILOT_SYSTEMS") == "" {
		t.Skip("builds a part of the OpenTelemetry collector; PILOT_SYSTEMS=1 runs it")
	}
	bin := filepath.Join(t.TempDir(), "otel")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", bin, ".")
	build.Dir = filepath.Join("..", "..", "systems", "otel")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(t.Context(), bin, addr)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("got %q, %v", line, err)
	}

	b := newBench(t, recorded(5000))
	b.want(0, words("run --match etcd -- true"))
	b.want(0, words("tree --send http://"+addr), "sent 5006 spans")

	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"traces":1,"spans":5006,"roots":1,"orphans":0,"failed":1,"services":["etcd1","fix","pilot"],"requests":3}` + "\n"
	if line != want {
		t.Errorf("got %swant %s", line, want)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
