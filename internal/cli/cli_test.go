package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// fake is an engine that finds what the test put into it and touches nothing.
type fake struct {
	found     map[string][]model.Member // by match; "" by pid
	findErr   error
	runErr    error
	status    model.Status
	diagnoses []model.Diagnosis
	erased    []string
	sweepErr  error
	trial     model.World // what a run observes

	spec  *model.Spec // the last one run or examined
	work  string
	swept []string

	series   *model.Series  // the last one
	statuses []model.Status // of its reports, instead of status
	broken   int            // it is cancelled after so many reports, 0 for never
}

func (f *fake) Find(_ context.Context, match string, pids []int) ([]model.Member, error) {
	if f.findErr != nil {
		return nil, f.findErr
	}
	if len(pids) == 0 {
		return slices.Clone(f.found[match]), nil
	}
	var list []model.Member
	for _, m := range f.found[""] {
		if slices.Contains(pids, m.PID) {
			list = append(list, m)
		}
	}
	return list, nil
}

func (f *fake) Doctor(_ context.Context, spec model.Spec) ([]model.Diagnosis, error) {
	f.spec = &spec
	return f.diagnoses, nil
}

func (f *fake) Run(_ context.Context, spec model.Spec, work string, progress func(string, string)) (*model.Report, error) {
	f.spec, f.work = &spec, work
	progress("snapshot", "3 processes")
	progress("spawn", "")
	if f.runErr != nil {
		return nil, f.runErr
	}
	return &model.Report{Version: model.Version, Started: time.Now(), Spec: spec, Pause: model.Pause{Total: 12 * time.Millisecond}, Trial: f.trial,
		Verdict: model.Verdict{Status: f.status, Reason: "because"}}, nil
}

func (f *fake) Series(ctx context.Context, spec model.Spec, s model.Series, work string, progress func(string, string), told func(*model.Report)) error {
	f.series = &s
	actions := s.Actions
	if len(actions) == 0 {
		actions = [][]string{spec.Action}
	}
	for n := range s.Count() {
		if f.broken > 0 && n == f.broken {
			return context.Canceled
		}
		spec.Action = actions[n%len(actions)]
		r, err := f.Run(ctx, spec, work, progress)
		if err != nil {
			return err
		}
		r.Part = &model.Part{Number: n + 1, Of: s.Count(), Jitter: s.Jitter}
		if n < len(f.statuses) {
			r.Verdict.Status = f.statuses[n]
		}
		told(r)
	}
	return nil
}

func (f *fake) Sweep(_ context.Context, dirs []string) ([]string, error) {
	f.swept = dirs
	for _, d := range dirs {
		_ = os.RemoveAll(d)
	}
	return f.erased, f.sweepErr
}

// cluster is an engine with two etcd and one other process.
func cluster() *fake {
	one := model.Member{Name: "etcd1", PID: 11, Exe: "/usr/bin/etcd"}
	two := model.Member{Name: "etcd2", PID: 12, Exe: "/usr/bin/etcd"}
	kv := model.Member{Name: "etcd1", PID: 13, Exe: "/usr/bin/kv"}
	return &fake{status: model.Pass, found: map[string][]model.Member{
		"etcd": {one, two}, "etcd1": {one}, "kv": {kv}, "": {one, two, kv},
	}}
}

// A bench runs commands against one engine and one state directory.
type bench struct {
	t      *testing.T
	engine Engine
	env    map[string]string
	dir    string
	tty    bool
	demo   func(context.Context, io.Writer, io.Writer) int
	more   func(*Env) // what else the environment has; nil for nothing
}

func newBench(t *testing.T, e Engine) *bench {
	return &bench{t: t, engine: e, dir: t.TempDir(), env: map[string]string{"XDG_STATE_HOME": t.TempDir()}}
}

func (b *bench) run(args ...string) (status int, stdout, stderr string) {
	b.t.Helper()
	var out, errs bytes.Buffer
	env := Env{Stdout: &out, Stderr: &errs, Dir: b.dir, IsTerminal: b.tty,
		Getenv: func(k string) string { return b.env[k] }, Environ: []string{"A=b"}, Engine: b.engine, Demo: b.demo, Version: "v1"}
	if b.more != nil {
		b.more(&env)
	}
	status = Main(b.t.Context(), args, env)
	return status, out.String(), errs.String()
}

// want runs args and checks the status, and that stderr contains each text.
func (b *bench) want(status int, args []string, texts ...string) (stdout string) {
	b.t.Helper()
	got, stdout, stderr := b.run(args...)
	if got != status {
		b.t.Errorf("%q: exit status %d, want %d; stderr:\n%s", args, got, status, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stderr, text) {
			b.t.Errorf("%q: stderr has no %q:\n%s", args, text, stderr)
		}
	}
	return stdout
}

func words(s string) []string { return strings.Fields(s) }

func (b *bench) file(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func TestRunExitsByVerdict(t *testing.T) {
	for status, want := range map[model.Status]int{model.Pass: 0, model.Fail: 2, model.Unknown: 3, "odd": 3} {
		e := cluster()
		e.status = status
		b := newBench(t, e)
		out := b.want(want, words("run --match etcd -- true x"),
			"will stop etcd1 (pid 11), etcd2 (pid 12) for at most 250ms", "will try in the fork: ", "pilot: snapshot: 3 processes\npilot: spawn\n",
			"production was released after 12.0 ms", "pilot: next: pilot report ")
		if !strings.HasPrefix(out, strings.ToUpper(string(status))+"  because\n") {
			t.Errorf("stdout: %s", out)
		}
	}
}

func TestRunPassesItsSpec(t *testing.T) {
	e := cluster()
	b := newBench(t, e)
	b.env["PILOT_SETTLE"], b.env["PILOT_TIMEOUT"] = "1s", "9s"
	b.want(0, []string{"run", "--match", "etcd", "--match", "kv", "--pid", "11,13", "--data", "etcd1-11=/d1", "--data", "etcd3=rel", "--check", "ok a", "--egress", "[::1]:80=allow-read", "--egress", "*=stub", "--max-pause", "20ms", "--timeout", "3s", "-q", "--", "true", "--flag"})
	s := e.spec
	var names []string
	for _, m := range s.Members {
		names = append(names, fmt.Sprintf("%s/%d%v", m.Name, m.PID, m.Data))
	}
	if got, want := strings.Join(names, " "), fmt.Sprintf("etcd1-11/11[/d1] etcd2/12[] etcd1-13/13[] etcd3/0[%s/rel]", b.dir); got != want {
		t.Errorf("members: got %s, want %s", got, want)
	}
	if !filepath.IsAbs(s.Action[0]) || s.Action[1] != "--flag" || s.Dir != b.dir || s.Env[0] != "A=b" {
		t.Errorf("action: %+v", s)
	}
	if s.MaxPause != 20*time.Millisecond || s.Timeout != 3*time.Second || s.Settle != time.Second {
		t.Errorf("settings: %v %v %v", s.MaxPause, s.Timeout, s.Settle)
	}
	if len(s.Probes) != 1 || s.Probes[0].Name != "ok a" || s.Probes[0].Timeout == 0 {
		t.Errorf("probes: %+v", s.Probes)
	}
	if len(s.Egress) != 2 || s.Egress[0] != (model.EgressRule{Peer: "[::1]:80", Policy: "allow-read"}) || s.Egress[1].Policy != "stub" {
		t.Errorf("egress: %+v", s.Egress)
	}
	if !strings.HasPrefix(e.work, b.env["XDG_STATE_HOME"]) {
		t.Errorf("work directory: %s", e.work)
	}
}

func TestRunReadsTheFile(t *testing.T) {
	const yaml = `
members:
- {name: one, match: etcd1, data: d1}
- {name: three, match: nowhere, data: d3, command: [etcd, three]}
checks: [health]
egress: [{peer: a, policy: stub, reply: b}]
settle: 7s
`
	e := cluster()
	b := newBench(t, e)
	b.file("pilot.yaml", yaml)
	b.want(0, words("run -- true"), "will stop one (pid 11)", "down: three")
	if len(e.spec.Members) != 2 || e.spec.Members[1].Args[1] != "three" || e.spec.Members[0].Data[0] != b.dir+"/d1" || e.spec.Settle != 7*time.Second {
		t.Errorf("got %+v", e.spec)
	}
	b.want(0, words("run --egress *=deny -- true"))
	if len(e.spec.Egress) != 2 || e.spec.Egress[0].Peer != "*" || e.spec.Egress[1] != (model.EgressRule{Peer: "a", Policy: "stub", Reply: "b"}) {
		t.Errorf("egress: %+v", e.spec.Egress)
	}
	b.want(0, words("run --match etcd -- true")) // flags name the members: the default file is not read
	if e.spec.Settle == 7*time.Second {
		t.Error("pilot.yaml was read")
	}
	b.want(0, []string{"run", "-f", b.dir + "/pilot.yaml", "--pid", "12", "--", "true"})
	if e.spec.Members[0].PID != 12 || len(e.spec.Members) != 1 || e.spec.Settle != 7*time.Second {
		t.Errorf("got %+v", e.spec)
	}
	b.want(ExitUsage, words("run --check health -- true"), `check "health" is given twice`)
}

func TestRunRejects(t *testing.T) {
	for _, tt := range []struct {
		name   string
		yaml   string
		args   string
		status int
		stderr string
	}{
		{"no command", "", "run --match etcd", 64, "pilot: error: no command to try\npilot: hint: pilot run --match etcd -- ./recover.sh\n"},
		{"command not found", "", "run --match etcd -- pilot-no-such", 64, "pilot: error: command \"pilot-no-such\": not found in PATH\n"},
		{"command not a file", "", "run --match etcd -- /pilot/none", 64, "pilot: error: command \"/pilot/none\": no such file or directory\n"},
		{"command not executable", "", "run --match etcd -- /etc/passwd", 64, "pilot: error: command \"/etc/passwd\": permission denied\n"},
		{"flag as command", "", "run -- --match", 64, "pilot: hint: flags of pilot go before the command"},
		{"unknown preset", "", "run --preset etdc -- true", 64, "pilot: error: unknown preset \"etdc\"\npilot: hint: did you mean \"etcd\"?"},
		{"no members", "", "run --preset none -- true", 64, "pilot: error: no members"},
		{"nothing matches", "", "run --match zk -- true", 4, "pilot: error: find \"zk\": no process has this name or argument\npilot: hint: "},
		{"no such pid", "", "run --pid 99 -- true", 4, "pilot: error: pid 99: process: does not exist\n"},
		{"ambiguous", "members: [{name: one, match: etcd}]", "run -- true", 1, "pilot: error: find \"etcd\": member one could be any of pid 11, pid 12\n"},
		{"broken file", "max_pause: 1s\ntimeout: x", "run -- true", 64, "pilot.yaml:1: unknown key \"max_pause\", did you mean \"max-pause\"?\npilot: error: "},
		{"no such file", "", "run -f none.yaml -- true", 64, "pilot: error: read none.yaml: no such file or directory\n"},
		{"unknown flag", "", "run --chekc x -- true", 64, "pilot: error: unknown flag --chekc\npilot: hint: did you mean --check?\n"},
		{"far flag", "", "run --banana -- true", 64, "pilot: hint: pilot help run lists the flags\n"},
		{"flag without value", "", "run --match", 64, "pilot: error: flag --match needs a value\n"},
		{"bad pid", "", "run --pid 1,x -- true", 64, "pilot: error: --pid: \"x\" is not a process id\n"},
		{"bad duration", "", "run --max-pause 5 -- true", 64, "pilot: error: --max-pause: \"5\" is not a duration such as 250ms, 5s or 2m\n"},
		{"bad format", "", "run -o xml -- true", 64, "pilot: error: -o: \"xml\" is not text, json or html\n"},
		{"empty match", "", "run --match= -- true", 64, "pilot: error: --match: the value is empty\n"},
		{"whose data", "", "run --match etcd --data /d -- true", 64, "pilot: error: --data: whose is /d?\npilot: hint: name the member: --data NAME=/d\n"},
		{"data is root", "", "run --match etcd --data etcd1=/ -- true", 64, "is not a path that can be copied"},
		{"bad boolean", "", "run -q=maybe -- true", 64, "pilot: error: invalid boolean value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := cluster()
			b := newBench(t, e)
			if tt.yaml != "" {
				b.file("pilot.yaml", tt.yaml)
			}
			if out := b.want(tt.status, words(tt.args), tt.stderr); out != "" {
				t.Errorf("stdout: %s", out)
			}
			if e.spec != nil {
				t.Error("the engine ran")
			}
		})
	}
}

func TestRunHintsAtShellSyntax(t *testing.T) {
	newBench(t, cluster()).want(ExitUsage, []string{"run", "--match", "etcd", "--", "a | b"}, "for shell syntax: pilot run -- sh -c")
}

func TestBadEnvironment(t *testing.T) {
	b := newBench(t, cluster())
	b.env["PILOT_TIMEOUT"] = "soon"
	b.want(ExitUsage, words("run --match etcd -- true"), `pilot: error: PILOT_TIMEOUT: "soon" is not a duration`)
}

func TestRunFailures(t *testing.T) {
	refused := &model.RefusedError{Refusals: []model.Refusal{
		{Member: "etcd1", PID: 11, Object: "fd 7", Kind: "anon_inode:[io_uring]", Why: "not supported", Hint: "turn it off"},
		{Member: "etcd2", PID: 12, Object: "fd 7", Kind: "anon_inode:[io_uring]", Why: "not supported", Hint: "turn it off"},
	}}
	for _, tt := range []struct {
		name   string
		err    error
		status int
		stderr string
	}{
		{"refused", fmt.Errorf("preflight: %w", refused), ExitRefused, "pilot: error: etcd1 (pid 11): fd 7 anon_inode:[io_uring]: not supported\npilot: error: etcd2 (pid 12): fd 7 anon_inode:[io_uring]: not supported\npilot: hint: turn it off\npilot: refused, nothing was stopped\n"},
		{"hint", &model.HintError{Err: errors.New("pause: budget"), Hint: "raise --max-pause"}, ExitError, "pilot: error: pause: budget\npilot: hint: raise --max-pause\n"},
		{"plain", errors.New("spawn: no space left on device"), ExitError, "pilot: error: spawn: no space left on device\n"},
		{"several", errors.Join(errors.New("a"), errors.New("b")), ExitError, "pilot: error: a\npilot: error: b\n"},
		{"cancelled", context.Canceled, ExitCancelled, "pilot: spawn\npilot: cancelled: production goes on, the worlds are erased\n"},
		{"cancelled in a step", fmt.Errorf("snapshot: %w", context.Canceled), ExitCancelled, "pilot: spawn\npilot: cancelled: production goes on, the worlds are erased\n"},
		{"cancelled with more", errors.Join(context.Canceled, errors.New("remove image: busy")), ExitCancelled,
			"pilot: error: remove image: busy\npilot: cancelled: production goes on; pilot gc erases what is left\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := cluster()
			e.runErr = tt.err
			b := newBench(t, e)
			if out := b.want(tt.status, words("run --json --match etcd -- true"), tt.stderr); out != "" {
				t.Errorf("stdout: %s", out)
			}
			if ps := b.want(0, words("ps")); !strings.Contains(ps, "failed") {
				t.Errorf("ps: %s", ps)
			}
		})
	}
}

func TestFindRefusesWithoutRoot(t *testing.T) {
	e := cluster()
	e.findErr = &model.RefusedError{Refusals: []model.Refusal{{Object: "privileges", Why: "not root", Hint: "use sudo"}}}
	newBench(t, e).want(ExitRefused, words("run --match etcd -- true"), "pilot: error: privileges: not root\npilot: hint: use sudo\n")
}

func TestNoEngine(t *testing.T) {
	b := newBench(t, nil)
	for _, args := range []string{"run --pid 1 -- true", "doctor", "gc", "demo"} {
		b.want(ExitError, words(args), "pilot: error: this build of pilot ")
	}
}

func TestUnwritableState(t *testing.T) {
	e := cluster()
	b := newBench(t, e)
	b.file("file", "")
	b.env["XDG_STATE_HOME"] = b.dir + "/file"
	b.want(ExitError, words("run --match etcd -- true"), "pilot: error: state directory "+b.dir+"/file/pilot: not a directory\npilot: hint: set XDG_STATE_HOME")
	if e.spec != nil {
		t.Error("the engine ran")
	}
}

func TestQuietAndJSON(t *testing.T) {
	b := newBench(t, cluster())
	status, out, errs := b.run(words("run -q --json --match etcd -- true")...)
	var r model.Report
	if err := json.Unmarshal([]byte(out), &r); status != 0 || err != nil || r.ID == "" || errs != "" {
		t.Errorf("%d, %v, %q, stderr %q", status, err, out, errs)
	}
}

func TestReportAgain(t *testing.T) {
	b := newBench(t, cluster())
	b.want(ExitError, words("report"), "no such run: none has a report yet")
	first := b.want(0, words("run --match etcd -- true"))
	if again := b.want(0, words("report")); again != first {
		t.Errorf("got %s, want %s", again, first)
	}
	if out := b.want(0, words("report -o json latest")); !json.Valid([]byte(out)) {
		t.Errorf("got %s", out)
	}
	b.want(ExitError, words("report nosuch"), "no such run: nosuch", "pilot ps lists the runs")
	if out := b.want(0, words("report latest -o json")); !json.Valid([]byte(out)) {
		t.Errorf("got %s", out)
	}
	b.want(ExitUsage, words("report latest --jsno"), "did you mean --json?")
	b.want(ExitUsage, words("report latest other"), "pilot report takes one run, got 2")
}

func TestColourOnlyOnATerminal(t *testing.T) {
	b := newBench(t, cluster())
	b.want(0, words("run --match etcd -- true"))
	painted := func() bool { return strings.Contains(b.want(0, words("report")), "\x1b") }
	if painted() {
		t.Error("colour without a terminal")
	}
	b.tty = true
	if !painted() {
		t.Error("no colour on a terminal")
	}
	b.env["NO_COLOR"] = "1"
	if painted() {
		t.Error("colour despite NO_COLOR")
	}
	b.env["NO_COLOR"], b.env["TERM"] = "", "dumb"
	if painted() {
		t.Error("colour on a dumb terminal")
	}
}
