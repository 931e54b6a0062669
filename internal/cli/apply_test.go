package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

// piloted is an engine whose runs have the whole report of an action and checks
// that ended as they were told to.
type piloted struct {
	*fake
	checks [2]model.CommandResult // of each check in the trial, before and after
	spoil  func(*model.Report)    // what is wrong with reports; nil for nothing
}

func (e *piloted) Run(ctx context.Context, spec model.Spec, work string, progress func(string, string)) (*model.Report, error) {
	r, err := e.fake.Run(ctx, spec, work, progress)
	if err != nil {
		return nil, err
	}
	r.Trial.Action = &model.CommandResult{Exit: &model.Exit{}}
	for _, p := range spec.Probes {
		r.Trial.Probes = append(r.Trial.Probes, model.ProbeResult{Name: p.Name, Command: p.Command, Before: e.checks[0], After: e.checks[1]})
	}
	if e.spoil != nil {
		e.spoil(r)
	}
	return r, nil
}

// A stand has a run that passed, and production beside it.
type stand struct {
	*bench
	engine *piloted
	look   func(*drift.Fingerprint) // what production is like now; nil for as it was
	now    time.Duration            // how much later it is
	stdin  io.Reader                // of a person, nil when there is none
	looks  int
}

func newStand(t *testing.T) *stand {
	e := &piloted{fake: cluster()}
	e.checks = [2]model.CommandResult{{Exit: &model.Exit{}, Output: "a\nb\n"}, {Exit: &model.Exit{}, Output: "a\nb\n"}}
	s := &stand{bench: newBench(t, e), engine: e}
	s.more = func(env *Env) {
		env.Environ = []string{"A=b", "PATH=" + os.Getenv("PATH")}
		env.Now = func() time.Time { return time.Now().Add(s.now) }
		env.Stdin, env.AsksPerson = s.stdin, s.stdin != nil
		env.Look = func(_ context.Context, spec model.Spec, config string) (drift.Fingerprint, error) {
			s.looks++
			f := drift.Fingerprint{Version: drift.Version, Boot: "boot", UID: os.Getuid(), Action: spec.Action, Dir: spec.Dir, Env: spec.Env}
			for _, m := range spec.Members {
				f.Members = append(f.Members, drift.Member{Name: m.Name, PID: m.PID, Args: m.Args})
			}
			if config != "" {
				f.Config = &drift.File{Path: config}
			}
			if s.look != nil {
				s.look(&f)
			}
			return f, nil
		}
	}
	return s
}

// pilot makes a run with these flags, of a script that leaves a mark.
func (s *stand) pilot(script string, flags ...string) {
	s.t.Helper()
	s.want(0, append(append([]string{"run", "--match", "etcd", "--settle", "0s"}, flags...), "--", "/bin/sh", "-c", script))
}

// touched reports whether the action was done on production.
func (s *stand) touched() bool {
	_, err := os.Stat(filepath.Join(s.dir, "done"))
	return err == nil
}

const touches = `echo "$A $PWD"; touch done`

func TestApply(t *testing.T) {
	s := newStand(t)
	s.pilot(touches, "--check", "printf 'a\\nb\\n'", "--preserve", "printf 'a\\nb\\nc\\n'")
	if s.touched() {
		t.Fatal("run did it")
	}
	out := s.want(0, words("apply latest --confirm etcd"),
		"PASS  because\n", "members of etcd: etcd1 (pid 11), etcd2 (pid 12)\n", "will do FOR REAL, ON PRODUCTION, in "+s.dir+": /bin/sh -c ",
		"ok       the action: exit status 0, as in the trial\n", "pilot: production did as the trial did\n")
	if out != "b "+s.dir+"\n" || !s.touched() {
		t.Errorf("the action said %q", out)
	}
	s.want(ExitRefused, words("apply latest --confirm etcd"), "it was applied at ", "pilot it again, or give --again")
	s.want(0, words("apply latest --confirm etcd --again"))
	var list []registry.Application
	text, err := os.ReadFile(s.one("applied.json"))
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || len(list) != 2 || !list[0].Exit.OK() || list[0].AsPredicted == nil || !*list[0].AsPredicted || list[0].UID != os.Getuid() {
		t.Errorf("got %s, %v", text, err)
	}
}

// one is the only file of that name in the directories of runs.
func (s *stand) one(name string) string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.env["XDG_STATE_HOME"], "pilot", "runs", "*", name))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("%s: got %q, %v", name, files, err)
	}
	return files[0]
}

func TestApplyDryRun(t *testing.T) {
	s := newStand(t)
	s.pilot(touches)
	if out := s.want(0, words("apply latest --dry-run")); !strings.Contains(out, "will do FOR REAL") {
		t.Errorf("got %s", out)
	}
	s.look = func(f *drift.Fingerprint) { f.Members[0].PID = 99 }
	s.want(ExitRefused, words("apply latest --dry-run"), "member etcd1: was up as pid 11, started at tick 0, is up as pid 99")
	if s.touched() {
		t.Error("it was done")
	}
}

// TestApplyRefuses has nothing done, for whatever reason.
func TestApplyRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(s *stand) // the run
		after  func(s *stand)
		args   string
		stderr string
	}{
		{"wrong name", nil, nil, "--confirm etc", `the cluster is called "etcd", not "etc"`},
		{"nobody to ask", nil, nil, "", "nobody can be asked"},
		{"must not ask", nil, func(s *stand) { s.stdin = strings.NewReader("etcd\n") }, "--no-input", "nobody can be asked"},
		{"typed wrong", nil, func(s *stand) { s.stdin = strings.NewReader("yes\netcd\n") }, "", `not "yes"`},
		{"typed nothing", nil, func(s *stand) { s.stdin = strings.NewReader("") }, "", `not ""`},
		{"fail", func(s *stand) { s.engine.status = model.Fail }, nil, "--confirm etcd", "its verdict is fail: only a run that passed"},
		{"unknown", func(s *stand) { s.engine.status = model.Unknown }, nil, "--confirm etcd", "its verdict is unknown"},
		{"too old", nil, func(s *stand) { s.now = 15*time.Minute + time.Second }, "--confirm etcd", "age: may be 15m0s, is 15m1s: pilot it again"},
		{"older than asked for", nil, func(s *stand) { s.now = 3 * time.Minute }, "--confirm etcd --max-age 2m", "age: may be 2m0s"},
		{"too old at all", nil, func(s *stand) { s.now = 61 * time.Minute }, "--confirm etcd --max-age 1h", "age: may be 1h0m0s"},
		{"of the future", nil, func(s *stand) { s.now = -time.Minute }, "--confirm etcd", "age: may be 15m0s, is -1m0s"},
		{"another boot", nil, func(s *stand) { s.look = func(f *drift.Fingerprint) { f.Boot = "x" } }, "--confirm etcd", "the host: was unknown, boot boot, is unknown, boot x"},
		{"script", nil, func(s *stand) {
			s.look = func(f *drift.Fingerprint) { f.Files = []drift.File{{Path: "/r.sh", Inode: 1}} }
		}, "--confirm etcd", "/r.sh: was not there"},
		{"leader", nil, func(s *stand) { s.look = func(f *drift.Fingerprint) { f.Roles = []string{"leader e2"} } }, "--confirm etcd", `leader and members: was not so, is "leader e2"`},
		{"a member of its own network", nil, func(s *stand) { s.look = func(f *drift.Fingerprint) { f.Members[0].Apart = true } }, "--confirm etcd", "do it there by hand"},
		{"another user", nil, func(s *stand) { s.look = func(f *drift.Fingerprint) { f.UID = 7 } }, "--confirm etcd", "only the user who ran the pilot, or root"},
		{"a new member", nil, func(s *stand) {
			s.engine.found["etcd"] = append(s.engine.found["etcd"], model.Member{Name: "etcd9", PID: 19, Exe: "/usr/bin/etcd"})
		}, "--confirm etcd", "member etcd9: was no member, is up as pid 19"},
		{"a member gone", nil, func(s *stand) { s.engine.found["etcd"] = s.engine.found["etcd"][:1] }, "--confirm etcd", "member etcd2: was up as pid 12, started at tick 0, is no member"},
		{"all gone", nil, func(s *stand) { s.engine.found = nil }, "--confirm etcd", "members: were found, are not: "},
		{"check", nil, func(s *stand) { s.file("ill", "") }, "--confirm etcd", `check "test ! -e ill": then passes, now fails (exit status 1): pilot it again`},
		{"lost meanwhile", func(s *stand) { s.engine.checks[0].Output = "a\nb\nz\n" }, nil, "--confirm etcd", `lines of "printf a": then 0 lost, now 2 lost ("b"): pilot it again`},
		{"no fingerprint", nil, func(s *stand) { _ = os.Remove(s.one("fingerprint.json")) }, "--confirm etcd", "it is not known what it depended on"},
		{"a fingerprint that others could write", nil, func(s *stand) { _ = os.Chmod(s.one("fingerprint.json"), 0o666) }, "--confirm etcd", "others may have written it"},
		{"half a fingerprint", nil, func(s *stand) { _ = os.Truncate(s.one("fingerprint.json"), 40) }, "--confirm etcd", "it is not known what it depended on"},
		{"half a report", nil, func(s *stand) { _ = os.Truncate(s.one("report.json"), 40) }, "--confirm etcd", "unexpected end of JSON input: pilot it again"},
		{"no action", func(s *stand) { s.engine.spoil = func(r *model.Report) { r.Trial.Action.Exit = nil } }, nil, "--confirm etcd", "not whole: the action did not end"},
		{"not observed", func(s *stand) { s.engine.spoil = func(r *model.Report) { r.Trial.Incomplete = []string{"x"} } }, nil, "--confirm etcd", "not whole: something was not observed"},
		{"no check", func(s *stand) { s.engine.spoil = func(r *model.Report) { r.Trial.Probes = nil } }, nil, "--confirm etcd", "not whole: a check has no result"},
		{"another action", func(s *stand) { s.engine.spoil = func(r *model.Report) { r.Spec.Action = []string{"rm"} } }, nil, "--confirm etcd", "not whole: it is that of another action"},
		{"damaged record", nil, func(s *stand) {
			_ = os.WriteFile(filepath.Join(filepath.Dir(s.one("report.json")), "applied.json"), []byte("{"), 0o600)
		}, "--confirm etcd", "not known whether it was applied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t)
			flags := []string{"--check", "test ! -e ill"}
			if c.before != nil {
				c.before(s)
			}
			if c.name == "lost meanwhile" {
				flags = []string{"--preserve", "printf a"}
			}
			s.run(append(append([]string{"run", "--match", "etcd", "--settle", "0s"}, flags...), "--", "/bin/sh", "-c", touches)...)
			if c.after != nil {
				c.after(s)
			}
			s.want(ExitRefused, append([]string{"apply", "latest"}, words(c.args)...), c.stderr, "pilot: refused, nothing was done\n")
			if s.touched() {
				t.Error("it was done")
			}
			if files, _ := filepath.Glob(filepath.Join(s.env["XDG_STATE_HOME"], "pilot", "runs", "*", "applied.json")); len(files) > 0 && c.name != "damaged record" {
				t.Error("it is on record")
			}
		})
	}
}

func TestApplyByAnotherPilotAtOnce(t *testing.T) {
	s := newStand(t)
	s.pilot(touches)
	store, err := registry.Open(filepath.Join(s.env["XDG_STATE_HOME"], "pilot"), registry.StartTime)
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.Find("latest")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := e.LockApply()
	if err != nil {
		t.Fatal(err)
	}
	s.want(ExitRefused, words("apply latest --confirm etcd"), "another pilot applies it")
	unlock()
	s.want(0, words("apply latest --confirm etcd"))
}

// TestApplyAsks has a person type, and looks again afterwards. What follows the
// name is the action's input.
func TestApplyAsks(t *testing.T) {
	s := newStand(t)
	s.pilot(`read x; echo "got $x"`)
	s.looks, s.stdin = 0, strings.NewReader("etcd\nmine\n")
	if out := s.want(0, words("apply latest"), "type the name of the cluster, etcd, to go on: "); out != "got mine\n" || s.looks != 2 {
		t.Errorf("got %q after %d looks", out, s.looks)
	}
	s.looks, s.stdin = 0, strings.NewReader("etcd\n")
	s.look = func(f *drift.Fingerprint) {
		if s.looks == 2 {
			f.Members[0].PID = 99 // while the question stood
		}
	}
	s.want(ExitRefused, words("apply latest --again"), "to go on: ", "member etcd1: was up as pid 11")
}

// TestApplyLooksAfterTheChecks has a member restarted while these are asked.
func TestApplyLooksAfterTheChecks(t *testing.T) {
	s := newStand(t)
	s.pilot(touches, "--check", "true")
	s.looks = 0
	s.look = func(f *drift.Fingerprint) {
		if s.looks == 2 {
			f.Members[0].PID = 99
		}
	}
	s.want(ExitRefused, words("apply latest --confirm etcd"), "member etcd1: was up as pid 11")
	if s.touched() {
		t.Error("it was done")
	}
}

func TestApplyCancelledAtTheQuestion(t *testing.T) {
	s := newStand(t)
	s.pilot(touches)
	in, _ := io.Pipe() // nobody types
	ctx, cancel := context.WithCancel(t.Context())
	var errs strings.Builder
	env := Env{Stdout: io.Discard, Stderr: writer(func(p []byte) {
		if errs.Write(p); strings.Contains(string(p), "to go on") {
			cancel()
		}
	}), Dir: s.dir, Getenv: func(k string) string { return s.env[k] }, Engine: s.engine}
	s.stdin = in
	s.more(&env)
	if got := Main(ctx, words("apply latest"), env); got != ExitCancelled || s.touched() {
		t.Errorf("status %d: %s", got, &errs)
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// TestApplyDiffers has production do otherwise than the trial.
func TestApplyDiffers(t *testing.T) {
	for _, c := range []struct{ name, script, check, stderr string }{
		{"exit status", "exit 3", "", "DIFFERS  the action: in the trial exit status 0, on production exit status 3\n"},
		{"signal", "kill -TERM $$", "", "on production ended by SIGTERM\n"},
		{"check", "touch ill", "--check=! test -e ill || { echo sick; false; }", "in the trial passes, on production fails (exit status 1): sick\n"},
		{"lost", "echo a >data", "--preserve=cat data", "!!! LOST ON PRODUCTION: b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t)
			s.file("data", "a\nb\n")
			var flags []string
			if c.check != "" {
				flags = append(flags, c.check)
			}
			s.pilot(c.script, flags...)
			s.want(ExitFail, words("apply latest --confirm etcd"), c.stderr, "pilot: production did NOT do as the trial did\n")
			var list []registry.Application
			text, err := os.ReadFile(s.one("applied.json"))
			if err == nil {
				err = json.Unmarshal(text, &list)
			}
			if err != nil || len(list) != 1 || list[0].AsPredicted == nil || *list[0].AsPredicted || list[0].Exit == nil {
				t.Errorf("got %s, %v", text, err)
			}
		})
	}
}

// TestApplyThatCannotBegin is no application: it may be tried again.
func TestApplyThatCannotBegin(t *testing.T) {
	s := newStand(t)
	s.file("tool", "#!/none\n")
	path := filepath.Join(s.dir, "tool")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	s.want(0, []string{"run", "--match", "etcd", "--settle", "0s", "--", path})
	for range 2 {
		s.want(ExitError, words("apply latest --confirm etcd"), "pilot: error: start the action: ")
	}
}

// TestApplyPassesSignals sends one to pilot when the action runs.
func TestApplyPassesSignals(t *testing.T) {
	s := newStand(t)
	s.pilot(fmt.Sprintf("trap 'echo ended; exit 0' TERM; kill -TERM %d; while :; do sleep 0.05; done", syscall.Getpid()))
	if out := s.want(0, words("apply latest --confirm etcd")); out != "ended\n" {
		t.Errorf("got %q", out)
	}
}

func TestApplyReadsTheFile(t *testing.T) {
	s := newStand(t)
	s.file("pilot.yaml", "cluster: shop\nmembers: [{name: one, match: etcd1}, {name: three, match: three, data: d3, command: [etcd, three]}]\nsettle: 1ms\n")
	s.want(0, append([]string{"run", "--", "/bin/sh", "-c"}, touches))
	s.want(ExitRefused, words("apply latest --confirm etcd"), `the cluster is called "shop"`)
	s.engine.found["three"] = []model.Member{{Name: "three", PID: 44}}
	s.want(ExitRefused, words("apply latest --confirm shop"), "member three: was down, is up as pid 44")
	delete(s.engine.found, "three")
	s.want(0, words("apply latest --confirm shop"), "members of shop: one (pid 11), three (down)")
}

// TestApplyInItsDirectory pilots a program by a path that begins there.
func TestApplyInItsDirectory(t *testing.T) {
	s := newStand(t)
	s.file("tool", "#!/bin/sh\npwd\n")
	if err := os.Chmod(filepath.Join(s.dir, "tool"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(s.dir)
	s.want(0, words("run --match etcd --settle 0s -- ./tool"))
	t.Chdir("/")
	there := s.dir
	s.dir = "/"
	if out := s.want(0, words("apply latest --confirm etcd"), "in "+there+": ./tool\n"); out != there+"\n" {
		t.Errorf("got %q", out)
	}
}

func TestApplyUsage(t *testing.T) {
	s := newStand(t)
	s.want(ExitUsage, words("apply"), "pilot apply takes one run, got 0")
	s.want(ExitUsage, words("apply a b"), "takes one run, got 2")
	s.want(ExitUsage, words("apply a --max-age 61m"), "is not a duration of at most 1h")
	s.want(ExitUsage, words("apply a --max-age 0s"), "is not a duration of at most 1h")
	s.want(ExitError, words("apply a"), "no such run")
	newBench(t, cluster()).want(ExitError, words("apply a"), "this build of pilot")
}

func TestClusterName(t *testing.T) {
	for want, c := range map[string]struct {
		file    string
		members []model.Member
	}{
		"shop": {"shop", []model.Member{{Name: "e1"}}},
		"etcd": {"", []model.Member{{Name: "e1", PID: 1, Exe: "/usr/bin/etcd (deleted)"}}},
		"node": {"", []model.Member{{Name: "node-1"}, {Name: "node-2"}}},
		"a":    {"", []model.Member{{Name: "a"}, {Name: "b"}}},
		"7":    {"", []model.Member{{Name: "7"}}},
	} {
		if got := clusterName(&config.Config{Cluster: c.file}, model.Spec{Members: c.members}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
