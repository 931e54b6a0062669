package report

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// failing is a run with something in every part of the report.
func failing() *model.Report {
	at := func(d time.Duration, code int) *model.Exit { return &model.Exit{Code: code, At: d} }
	ran := func(code int) model.CommandResult {
		return model.CommandResult{PID: 990, Exit: at(time.Second, code), Output: "out\n", Duration: 20 * time.Millisecond}
	}
	return &model.Report{
		Version: model.Version, ID: "k3f9x2", Tool: "v0.1.0", Host: "db1",
		Started: time.Date(2026, 5, 4, 10, 30, 0, 0, time.UTC), Duration: 12340 * time.Millisecond,
		Spec: model.Spec{
			Members: []model.Member{
				{Name: "etcd1", PID: 811, StartTime: 5512, Exe: "/usr/bin/etcd", Args: []string{"etcd", "--name", "etcd1"}, Data: []string{"/var/lib/etcd1"}},
				{Name: "etcd2", PID: 812, StartTime: 5513, Exe: "/usr/bin/etcd", Args: []string{"etcd", "--name", "etcd2"}, Data: []string{"/var/lib/etcd2"}},
				{Name: "etcd3", Args: []string{"etcd", "--name", "etcd3"}, Data: []string{"/var/lib/etcd3"}},
			},
			Action: []string{"./recover.sh", "etcd3"}, Dir: "/root",
			Probes:   []model.Probe{{Name: "health", Command: []string{"sh", "-c", "etcdctl endpoint health"}, Timeout: 10 * time.Second}},
			Egress:   []model.EgressRule{{Peer: "mail.example:25", Policy: "stub", Reply: "220 ready\r\n"}},
			MaxPause: 250 * time.Millisecond, Timeout: 2 * time.Minute, Settle: 5 * time.Second, Controls: 2,
			Limits: model.Limits{MaxMemory: 2 << 30, MaxDisk: 1 << 30, MaxMemoryPressure: 10, MaxIOPressure: 90},
		},
		Confinement: "cgroup v1 (cpu, memory, pids)",
		Part:        &model.Part{Series: "k3f9x0", Number: 2, Of: 10, Compared: true, Jitter: 120 * time.Millisecond},
		Pause: model.Pause{Total: 12345 * time.Microsecond, Stop: 800 * time.Microsecond, Capture: 3100 * time.Microsecond, Fork: 6 * time.Millisecond,
			Files: 1900 * time.Microsecond, Release: 545 * time.Microsecond, Threads: 31, Objects: 96, Connections: 12, Outside: 1},
		Data: []model.DataWay{
			{Path: "/var/lib/etcd1", FS: "XFS", Way: "reflink"},
			{Path: "/var/lib/etcd3", FS: "ext4", Way: "copy and patch", Why: "no reflink: operation not supported"},
		},
		Trial: model.World{Name: "trial", Recovery: &model.Recovery{After: 5 * time.Second}, Action: &model.CommandResult{PID: 900, Exit: at(3*time.Second, 0), Output: "started etcd3\n", Duration: 3 * time.Second},
			Processes: []model.Process{
				{PID: 811, Parent: 1, Member: "etcd1", Phantom: true, Args: []string{"etcd", "--name", "etcd1"}},
				{PID: 950, Parent: 900, Member: "etcd3", Cause: model.CauseAction, Args: []string{"etcd", "--name", "etcd3"}, Started: time.Second, Exit: at(4*time.Second, 1),
					Output: []string{"{\"level\":\"fatal\",\"msg\":\"member has been removed\"}"}},
			},
			Probes: []model.ProbeResult{{Name: "health", Command: []string{"sh", "-c", "etcdctl endpoint health"}, Before: ran(1), After: ran(1)}},
			Files:  []model.FileChange{{Sign: "+", Path: "/var/lib/etcd3/wal/0.wal", Member: "etcd3", New: 64 << 20}},
			Logs:   []model.LogGroup{{Member: "etcd3", Source: "output", Level: model.LogError, Template: "lost # of # members", Count: 2, First: []string{"E lost 2 of 3 members"}}},
			Attempts: []model.Attempt{{At: 2 * time.Second, PID: 960, TID: 961, Process: "curl http://10.0.0.7", Op: "connect", Target: "tcp 10.0.0.7:80",
				By: "network", Answer: "EHOSTUNREACH", Stack: []string{"connect+0x14 libc.so.6"}, Count: 2}},
			Events: []model.Event{
				{At: time.Second, Took: time.Millisecond, PID: 811, TID: 815, Member: "etcd1", Kind: model.EventSend, Conn: "tcp 127.0.0.1:40112 127.0.0.1:2380",
					Offset: 10, Bytes: 20, Error: "EPIPE", Stack: []string{"main.main (main.go:1)"}, Task: "goroutine 12", Maker: "goroutine 1 at main.main", Count: 3},
				{At: 2 * time.Second, PID: 811, Kind: model.EventRename, Object: "/a", To: "/b", Child: 7},
			},
			WallClockAhead: 1200 * time.Millisecond, Spawn: 81 * time.Millisecond, Lifetime: 8 * time.Second},
		Control: model.World{Name: "control", Processes: []model.Process{{PID: 811, Parent: 1, Member: "etcd1", Phantom: true}},
			Probes: []model.ProbeResult{{Name: "health", Command: []string{"sh", "-c", "etcdctl endpoint health"}, Before: ran(1), After: model.CommandResult{Err: "no such file"}}},
			Spawn:  79 * time.Millisecond, Lifetime: 8 * time.Second, Incomplete: []string{"files"}, DeadlineHit: true,
			Ended: "it wrote 1024 MiB, and may write 1024 MiB (--max-disk)", Use: model.Use{Memory: 300 << 20, Written: 1 << 30}},
		Verdict: model.Verdict{
			Status: model.Fail, Reason: "etcd3, started in the trial, ended with exit status 1 1s after the action ended (and 1 more)",
			Noise: []model.Finding{{Rule: "log-error", Severity: model.Warning, Member: "etcd1", Message: "etcd1 logged what the control has not: apply took too long",
				Control: "no such error; but it does not hold against control 2"}},
			Findings: []model.Finding{
				{Rule: "new-member-lost", Severity: model.Error, Member: "etcd3", PID: 950, Message: "etcd3, started in the trial, ended with exit status 1 1s after the action ended",
					Evidence: []model.Evidence{{Source: "exit", Text: "pid 950 ended with exit status 1 at 4s: etcd --name etcd3"}, {Source: "log", At: 3980 * time.Millisecond, Text: "{\"level\":\"fatal\",\"msg\":\"member \x1b[31mhas been removed\"}"}},
					Control:  "not started there"},
				{Rule: "not-mended", Severity: model.Error, Message: "check \"health\" failed before the action and still does: the recovery did not mend it", Control: "fails (exit status 1) before, could not be run after"},
				{Rule: "deadline", Severity: model.Unproven, Message: "the deadline ended the control world before it was quiet"},
				{Rule: "blocked", Severity: model.Unproven, PID: 960, Message: "curl tried to connect to tcp 10.0.0.7:80, outside of the world",
					Evidence: []model.Evidence{{Source: "attempt", Text: "curl http://10.0.0.7: 2 times, first at 2s, EHOSTUNREACH by network"}, {Source: "stack", Text: "connect+0x14 libc.so.6"}},
					Control:  "not tried there"},
				{Rule: "process-failed", Severity: model.Warning, Member: "etcd1", PID: 960, Message: "etcdctl, started in the trial, ended with exit status 1 while the action ran"},
				{Rule: "child-ended", Severity: model.Info, PID: 13, Message: "pid 13 ended"},
			},
			Effects: []model.Effect{
				{Sign: "x", Kind: "process", Object: "etcd --name etcd3", Member: "etcd3", Detail: "pid 950, ended with exit status 1"},
				{Sign: "+", Kind: "file", Object: "/var/lib/etcd3/wal/0.wal", Member: "etcd3", Detail: "64.0 MiB"},
				{Sign: "~", Kind: "file", Object: "/var/lib/etcd1/odd\nname", Detail: "10 B to 20 B"},
				{Sign: "!", Kind: "network", Object: "tcp 10.0.0.7:80", Detail: "connect by curl, pid 960, 2 times: EHOSTUNREACH"},
			},
			NotCovered:  []model.Gap{{Member: "etcd1", Object: "fd 9 tcp 10.0.0.1:2379", Detail: "a connection to the outside is dead in the worlds"}, {Object: "time", Detail: "clocks run on"}},
			Differences: []model.Difference{{What: "check \"health\"", Trial: "fails (exit status 1)", Control: "fails (exit status 1)"}, {What: "files changed", Trial: "1", Control: "0"}},
		},
		Leftovers: []string{"/root/.local/state/pilot/runs/x/work: directory not empty"},
	}
}

// bare is a run in which nothing is set that may be left out.
func bare() *model.Report {
	return &model.Report{Version: model.Version, ID: "aaaaaa", Tool: "v0.1.0", Host: "db1",
		Spec:    model.Spec{Members: []model.Member{{Name: "kv", PID: 5}}, Action: []string{"true"}},
		Verdict: model.Verdict{Status: model.Pass, Reason: "the action ended with exit status 0 and no member was lost; no check was given"}}
}

func TestTextGolden(t *testing.T) {
	for _, tt := range []struct {
		name  string
		r     *model.Report
		color bool
	}{
		{"fail.txt", failing(), false},
		{"fail-color.txt", failing(), true},
		{"pass.txt", bare(), false},
	} {
		var b bytes.Buffer
		if err := Text(&b, tt.r, tt.color); err != nil {
			t.Fatal(err)
		}
		golden(t, tt.name, b.Bytes())
	}
}

func TestColourSaysNothingNew(t *testing.T) {
	var plain, painted bytes.Buffer
	_ = Text(&plain, failing(), false)
	_ = Text(&painted, failing(), true)
	text := painted.String()
	for _, style := range []string{bold, red, green, yellow, "0"} {
		text = strings.ReplaceAll(text, "\x1b["+style+"m", "")
	}
	if text != plain.String() {
		t.Errorf("got\n%s\nwant\n%s", text, plain.String())
	}
}

func TestNoControlCharacterGetsThrough(t *testing.T) {
	var b bytes.Buffer
	_ = Text(&b, failing(), false)
	if i := strings.IndexFunc(b.String(), func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
		t.Errorf("at %d: %q", i, b.String()[i:])
	}
	if got := clean("a\tb\x1b[2Jc\u202e\xff é"); got != `a b\x1b[2Jc\u202e\ufffd é` {
		t.Errorf("got %q", got)
	}
}

func TestLongListsAreCut(t *testing.T) {
	r := bare()
	for range maxRows + 7 {
		r.Verdict.Effects = append(r.Verdict.Effects, model.Effect{Sign: "+", Kind: "file", Object: "/x"})
		r.Verdict.Findings = append(r.Verdict.Findings, model.Finding{Severity: model.Info})
	}
	var b bytes.Buffer
	_ = Text(&b, r, false)
	for _, want := range []string{"… and 7 more effects, see -o json", "… and 7 more findings"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestHowTheActionEnded(t *testing.T) {
	for _, tt := range []struct {
		a    *model.CommandResult
		want string
	}{
		{nil, "(not run)"},
		{&model.CommandResult{Err: "x"}, "(not started)"},
		{&model.CommandResult{}, "(not ended)"},
		{&model.CommandResult{Exit: &model.Exit{Signal: "SIGKILL"}, Duration: 1500 * time.Microsecond}, "(SIGKILL after 2ms)"},
		{&model.CommandResult{Exit: &model.Exit{Code: 4}, Duration: 900}, "(exit status 4 after 1µs)"},
	} {
		if got := actionEnd(tt.a); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// A broken writer accepts n bytes.
type broken struct{ n int }

func (b *broken) Write(p []byte) (int, error) {
	if b.n -= len(p); b.n < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestWriteErrorsAreReturned(t *testing.T) {
	for _, n := range []int{0, 50, 900, 1800} {
		if err := Text(&broken{n}, failing(), false); err == nil {
			t.Errorf("after %d bytes: no error", n)
		}
	}
}
