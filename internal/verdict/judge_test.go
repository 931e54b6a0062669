package verdict

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A change to a healthy observation, in which a recovery works.
type edit func(*model.Observation)

func exit(code int, at time.Duration) *model.Exit { return &model.Exit{Code: code, At: at} }

func signal(name string, at time.Duration) *model.Exit { return &model.Exit{Signal: name, At: at} }

func result(code int) model.CommandResult {
	return model.CommandResult{Exit: exit(code, time.Second), Output: "says " + map[bool]string{true: "ok", false: "no"}[code == 0]}
}

// healthy is a cluster of two members in which the action, pid 900, ends after
// three seconds and all is well.
func healthy(edits ...edit) model.Observation {
	world := func(name string) model.World {
		return model.World{Name: name, Processes: []model.Process{
			{PID: 11, Parent: 1, Member: "etcd1", Phantom: true, Args: []string{"etcd", "--name", "etcd1"}},
			{PID: 12, Parent: 1, Member: "etcd2", Phantom: true, Args: []string{"etcd", "--name", "etcd2"}},
		}, Probes: []model.ProbeResult{{Name: "health", Before: result(0), After: result(0)}}}
	}
	o := model.Observation{
		Spec: model.Spec{
			Members: []model.Member{
				{Name: "etcd1", PID: 11, Exe: "/usr/bin/etcd", Args: []string{"etcd", "--name", "etcd1"}},
				{Name: "etcd2", PID: 12, Exe: "/usr/bin/etcd", Args: []string{"etcd", "--name", "etcd2"}},
				{Name: "etcd3", Data: []string{"/d3"}, Args: []string{"sh", "-c", "etcd --name etcd3"}},
			},
			Action:  []string{"./recover.sh"},
			Probes:  []model.Probe{{Name: "health", Command: []string{"check"}}},
			Timeout: time.Minute,
		},
		Trial: world("trial"), Control: world("control"),
	}
	o.Trial.Action = &model.CommandResult{PID: 900, Exit: exit(0, 3*time.Second), Duration: 3 * time.Second}
	for _, e := range edits {
		e(&o)
	}
	return o
}

// titled makes the second member one that wrote a title over its arguments.
func titled(o *model.Observation) {
	for _, w := range []*model.World{&o.Trial, &o.Control} {
		w.Processes[1].Args = []string{"/usr/bin/redis-server 127.0.0.1:7001   "}
	}
}

func trialProcess(p model.Process) edit {
	return func(o *model.Observation) { o.Trial.Processes = append(o.Trial.Processes, p) }
}

func controlProcess(p model.Process) edit {
	return func(o *model.Observation) { o.Control.Processes = append(o.Control.Processes, p) }
}

// ends makes phantom i of a world end.
func ends(i int, e *model.Exit, output ...string) func(*model.World) {
	return func(w *model.World) { w.Processes[i].Exit, w.Processes[i].Output = e, output }
}

func trial(f func(*model.World)) edit { return func(o *model.Observation) { f(&o.Trial) } }

func control(f func(*model.World)) edit { return func(o *model.Observation) { f(&o.Control) } }

func acts(r *model.CommandResult) edit { return func(o *model.Observation) { o.Trial.Action = r } }

// checks sets the four outcomes of the only probe.
func checks(trialBefore, trialAfter, controlBefore, controlAfter model.CommandResult) edit {
	return func(o *model.Observation) {
		o.Trial.Probes = []model.ProbeResult{{Name: "health", Before: trialBefore, After: trialAfter}}
		o.Control.Probes = []model.ProbeResult{{Name: "health", Before: controlBefore, After: controlAfter}}
	}
}

var (
	ok   = result(0)
	bad  = result(7)
	hung = model.CommandResult{}
	none = model.CommandResult{Err: "no such file"}
)

func rationed(o *model.Observation) { o.Rationed = 8 * time.Second }

var skipped = model.CommandResult{Skipped: true}

// askedAt has the check asked at other times.
func askedAt(when string) edit {
	return func(o *model.Observation) { o.Spec.Probes = []model.Probe{{Name: "health", When: when}} }
}

// between has the check fail so often in between, in the trial and in the control.
func between(trial, control int) edit {
	return func(o *model.Observation) {
		for w, failed := range map[*model.World]int{&o.Trial: trial, &o.Control: control} {
			w.Probes[0].Between = &model.Between{Asked: 8, Failed: failed, First: bad, At: time.Second, Until: 2 * time.Second}
		}
	}
}

// rule is about lines in logs, and hasLost has such lines there.
func rule(r model.LogRule) edit {
	return func(o *model.Observation) { o.Spec.LogRules = []model.LogRule{r} }
}

func hasLost(w *model.World) {
	w.LogMatches = []model.LogMatch{{Pattern: "lost", Member: "etcd1", Source: "output", Count: 2, First: "lost 3", At: time.Second}}
}

// server3 is the node that was down, started by the action.
func server3(e *model.Exit, output ...string) model.Process {
	return model.Process{PID: 950, Parent: 900, Cause: model.CauseAction, Started: time.Second,
		Args: []string{"/usr/bin/etcd", "--name", "etcd3"}, Exit: e, Output: output}
}

func tool(e *model.Exit, output ...string) model.Process {
	return model.Process{PID: 960, Parent: 900, Started: time.Second, Args: []string{"etcdctl", "status"}, Exit: e, Output: output}
}

// outside is what a tool of the action was denied, and members what a member was.
var (
	outside = model.Attempt{PID: 960, Process: "/usr/bin/curl -s http://10.0.0.7", Op: "connect", Target: "tcp 10.0.0.7:443",
		By: "network", Answer: "EHOSTUNREACH", Count: 1, At: time.Second, Stack: []string{"connect", "main"}}
	members = model.Attempt{PID: 11, Member: "etcd1", Process: "etcd", Op: "resolve", Target: "db.example", By: "network", Answer: "REFUSED", Count: 3}
)

func with(a model.Attempt, change func(*model.Attempt)) model.Attempt {
	change(&a)
	return a
}

func nameless(a *model.Attempt) { a.PID, a.Member, a.Process, a.Stack = 0, "", "", nil }

func tries(list ...model.Attempt) edit {
	return func(o *model.Observation) { o.Trial.Attempts = list }
}

func controlTries(list ...model.Attempt) edit {
	return func(o *model.Observation) { o.Control.Attempts = list }
}

var judgements = []struct {
	name   string
	edits  []edit
	status model.Status
	rules  string // "severity rule" of all findings
	reason string // part of it
}{
	{"all is well", nil, model.Pass, "", "the check passes"},
	{"no check", []edit{func(o *model.Observation) {
		o.Spec.Probes, o.Trial.Probes, o.Control.Probes = nil, nil, nil
	}}, model.Pass, "", "no check was given"},

	// The action.
	{"action missing", []edit{acts(nil)}, model.Unknown, "unproven action-missing", "the action was not run"},
	{"action not started", []edit{acts(&model.CommandResult{Err: "permission denied"})}, model.Fail, "error action-not-started", "could not be started: permission denied"},
	{"action exit 3", []edit{acts(&model.CommandResult{Exit: exit(3, 1)})}, model.Fail, "error action-failed", "the action ended with exit status 3"},
	{"action killed", []edit{acts(&model.CommandResult{Exit: signal("SIGKILL", 1)})}, model.Fail, "error action-failed", "was ended by SIGKILL"},
	{"action unfinished", []edit{acts(&model.CommandResult{}), trial(func(w *model.World) { w.DeadlineHit = true })}, model.Unknown, "unproven action-unfinished", "did not end within 1m0s"},

	// Phantoms.
	{"member exits", []edit{trial(ends(1, exit(1, 4*time.Second)))}, model.Fail, "error member-lost", "etcd2 ended with exit status 1 1s after the action ended"},
	{"member exits 0", []edit{trial(ends(1, exit(0, time.Second)))}, model.Fail, "error member-lost", "etcd2 ended with exit status 0 while the action ran"},
	{"member killed", []edit{trial(ends(1, signal("SIGSEGV", time.Second)))}, model.Fail, "error member-lost", "SIGSEGV"},
	{"member lost in both", []edit{trial(ends(1, exit(1, 1))), control(ends(1, exit(1, 1)))}, model.Unknown, "unproven member-lost", "the control lost it too"},
	{"member lost in control", []edit{control(ends(1, exit(1, 1)))}, model.Unknown, "unproven control-lost", "in the control, where nothing was done"},
	{"member unknown to control", []edit{trial(ends(1, exit(1, 1))), control(func(w *model.World) { w.Processes = w.Processes[:1] })}, model.Fail, "error member-lost", ""},
	{"member restarted", []edit{trial(ends(1, signal("SIGTERM", 1))), trialProcess(model.Process{PID: 970, Member: "etcd2", Started: 2})}, model.Pass, "info member-replaced", ""},
	{"member restarted by its arguments", []edit{trial(ends(1, exit(0, 1))), trialProcess(model.Process{PID: 970, Args: []string{"etcd", "--name", "etcd2"}, Started: 2})}, model.Pass, "info member-replaced", ""},
	{"member restarted by its title", []edit{titled, trial(ends(1, exit(0, 1))), trialProcess(model.Process{PID: 970, Args: []string{"/usr/bin/redis-server", "r.conf"}, Title: "redis-server 127.0.0.1:7001", Started: 2})}, model.Pass, "info member-replaced", ""},
	{"another restarted by its title", []edit{titled, trial(ends(1, signal("SIGKILL", 1))), trialProcess(model.Process{PID: 970, Args: []string{"/usr/bin/redis-server", "r.conf"}, Title: "redis-server 127.0.0.1:7002", Started: 2})}, model.Fail, "error member-lost", ""},
	{"member restarted in vain", []edit{trial(ends(1, signal("SIGTERM", 1))), trialProcess(model.Process{PID: 970, Member: "etcd2", Started: 2, Exit: exit(1, 3)})}, model.Fail, "error member-lost,error new-member-lost", ""},
	{"member panics, is restarted", []edit{trial(ends(1, exit(0, 1), "panic: tocommit(9)")), trialProcess(model.Process{PID: 970, Member: "etcd2", Started: 2})}, model.Fail, "error member-lost", ""},
	{"child exits 0", []edit{trialProcess(model.Process{PID: 13, Parent: 11, Member: "etcd1", Phantom: true, Exit: exit(0, 1)}), controlProcess(model.Process{PID: 13, Phantom: true})}, model.Pass, "warning child-ended", ""},
	{"child exits 1", []edit{trialProcess(model.Process{PID: 13, Parent: 11, Phantom: true, Exit: exit(1, 1)}), controlProcess(model.Process{PID: 13, Phantom: true})}, model.Fail, "error member-lost", "pid 13 ended"},
	{"child exits 0 in both", []edit{trialProcess(model.Process{PID: 13, Phantom: true, Exit: exit(0, 1)}), controlProcess(model.Process{PID: 13, Phantom: true, Exit: exit(0, 1)})}, model.Pass, "info child-ended", ""},
	{"child exits 0 in control", []edit{trialProcess(model.Process{PID: 13, Phantom: true}), controlProcess(model.Process{PID: 13, Phantom: true, Exit: exit(0, 1)})}, model.Pass, "info child-ended", ""},

	// Processes that were started.
	{"node joins", []edit{trialProcess(server3(nil))}, model.Pass, "", ""},
	{"node dies early", []edit{trialProcess(server3(exit(1, 2*time.Second)))}, model.Fail, "error new-member-lost", "etcd, started in the trial, ended with exit status 1 while the action ran"},
	{"node panics", []edit{trialProcess(server3(exit(2, 2*time.Second), "panic: tocommit(9)"))}, model.Fail, "error process-crashed", ""},
	{"node leaves quietly", []edit{trialProcess(server3(exit(0, 4*time.Second)))}, model.Fail, "error new-member-lost", ""},
	{"node prints its version", []edit{trialProcess(server3(exit(0, 2*time.Second)))}, model.Pass, "", ""},
	{"node at second attempt", []edit{trialProcess(server3(exit(1, 2*time.Second))), trialProcess(model.Process{PID: 951, Started: 2 * time.Second, Args: server3(nil).Args})}, model.Pass, "warning new-member-lost", ""},
	{"node that is an interpreter", []edit{trialProcess(model.Process{PID: 950, Args: []string{"sh", "-c", "etcd --name etcd3"}, Exit: exit(1, 1)})}, model.Fail, "error new-member-lost", ""},
	{"tool fails on a member's directory", []edit{trialProcess(model.Process{PID: 961, Member: "etcd3", Args: []string{"mkdir", "/d3"}, Exit: exit(1, 1)})}, model.Pass, "warning process-failed", ""},
	{"tool is no replacement", []edit{trial(ends(1, exit(0, 1))), trialProcess(model.Process{PID: 970, Member: "etcd2", Args: []string{"tail", "-f", "/d2/log"}, Started: 2})}, model.Fail, "error member-lost", ""},
	{"tool fails", []edit{trialProcess(tool(exit(1, time.Second), "FATAL: starting up"))}, model.Pass, "warning process-failed", ""},
	{"tool fails often", []edit{trialProcess(tool(exit(1, 1))), trialProcess(tool(exit(1, 2))), trialProcess(tool(exit(1, 3)))}, model.Pass, "warning process-failed", ""},
	{"tool is signalled", []edit{trialProcess(tool(signal("SIGPIPE", 1)))}, model.Pass, "warning process-failed", ""},
	{"tool crashes", []edit{trialProcess(tool(signal("SIGSEGV", 1)))}, model.Fail, "error process-crashed", ""},
	{"tool panics", []edit{trialProcess(tool(exit(2, 1), "panic: nil"))}, model.Fail, "error process-crashed", ""},
	{"tool crashes in both", []edit{trialProcess(tool(signal("SIGSEGV", 1))), controlProcess(tool(nil)), controlProcess(tool(signal("SIGSEGV", 1)))}, model.Pass, "warning process-crashed", ""},
	{"tool runs on in control", []edit{trialProcess(tool(signal("SIGSEGV", 1))), controlProcess(tool(nil))}, model.Fail, "error process-crashed", ""},
	{"left running, fails", []edit{trialProcess(tool(exit(1, 4*time.Second)))}, model.Fail, "error process-failed", ""},
	{"left running, fails, in both", []edit{trialProcess(tool(exit(1, 4*time.Second))), controlProcess(tool(exit(1, 4*time.Second)))}, model.Pass, "warning process-failed", ""},
	{"left running, ends", []edit{trialProcess(tool(exit(0, 4*time.Second)))}, model.Pass, "", ""},
	{"the action's own process", []edit{trialProcess(model.Process{PID: 900, Exit: exit(1, 1)})}, model.Pass, "", ""},
	{"a check's process", []edit{trialProcess(model.Process{PID: 980, Cause: model.CauseCheck, Exit: exit(1, 1)}), trialProcess(model.Process{PID: 981, Parent: 980, Exit: signal("SIGSEGV", 1)})}, model.Pass, "", ""},

	// Checks: outcomes before and after in the trial, then in the control.
	{"check broken", []edit{checks(ok, bad, ok, ok)}, model.Fail, "error check-failed", `check "health" fails after the action`},
	{"check hangs", []edit{checks(ok, hung, ok, ok)}, model.Fail, "error check-failed", ""},
	{"check broken though control healed", []edit{checks(bad, bad, bad, ok)}, model.Fail, "error check-failed", ""},
	{"check not mended", []edit{checks(bad, bad, bad, bad)}, model.Fail, "error not-mended", "did not mend it"},
	{"check noise", []edit{checks(ok, bad, ok, bad)}, model.Unknown, "unproven check-noise", ""},
	{"check noise in control", []edit{checks(ok, ok, ok, bad)}, model.Unknown, "unproven check-noise", ""},
	{"check repaired", []edit{checks(bad, ok, bad, bad)}, model.Pass, "info check-repaired", ""},
	{"check healed", []edit{checks(bad, ok, bad, ok)}, model.Pass, "info check-healed", ""},
	{"check hangs on a busy host", []edit{rationed, checks(ok, hung, ok, ok)}, model.Unknown, "unproven check-starved", "did not end in time, but for 8s production left"},
	{"check fails on a busy host", []edit{rationed, checks(ok, bad, ok, ok)}, model.Fail, "error check-failed", ""},
	{"check hangs before, on a busy host", []edit{rationed, checks(hung, ok, hung, ok)}, model.Pass, "", ""},
	{"check hangs before", []edit{checks(hung, ok, hung, ok)}, model.Pass, "info check-healed", ""},
	{"check not runnable", []edit{checks(none, none, none, none)}, model.Unknown, "unproven check-not-started", "could not be run: no such file"},
	{"check lost by the action", []edit{checks(ok, none, ok, ok)}, model.Fail, "error check-failed", ""},
	{"check assumed", []edit{askedAt(model.WhenBefore), checks(bad, skipped, bad, skipped)}, model.Unknown, "unproven check-assumed", "not what the action takes for granted"},
	{"check assumed holds", []edit{askedAt(model.WhenBefore), checks(ok, skipped, ok, skipped)}, model.Pass, "", ""},
	{"check after", []edit{askedAt(model.WhenAfter), checks(skipped, ok, skipped, bad)}, model.Pass, "", ""},
	{"check after fails", []edit{askedAt(model.WhenAfter), checks(skipped, bad, skipped, bad)}, model.Fail, "error check-failed", "as it does where it was not run"},
	{"check after fails alone", []edit{askedAt(model.WhenAfter), checks(skipped, bad, skipped, ok)}, model.Fail, "error check-failed", ""},
	{"check never interrupted", []edit{askedAt(model.WhenAlways), checks(ok, ok, ok, ok), between(0, 0)}, model.Pass, "", ""},
	{"check interrupted", []edit{askedAt(model.WhenAlways), checks(ok, ok, ok, ok), between(3, 0)}, model.Fail, "error check-interrupted", "failed 3 of 8 times between before and after, from 1.00 s to 2.00 s"},
	{"check interrupted in both", []edit{askedAt(model.WhenAlways), checks(ok, ok, ok, ok), between(3, 2)}, model.Pass, "warning check-interrupted", ""},
	{"check not run", []edit{trial(func(w *model.World) { w.Probes = nil })}, model.Unknown, "unproven check-missing", `check "health" was not run`},
	{"check not run in control", []edit{control(func(w *model.World) { w.Probes = nil })}, model.Unknown, "unproven check-missing", "in the control"},

	{"late", []edit{func(o *model.Observation) {
		o.Spec.Settle, o.Trial.Recovery = 5*time.Second, &model.Recovery{Healthy: true, After: 14 * time.Second}
	}}, model.Pass, "info late", ""},

	// What the user says of logs.
	{"log forbidden", []edit{rule(model.LogRule{Pattern: "lost", Severity: model.Error}), trial(hasLost)}, model.Fail, "error log-forbidden", `etcd1 logged what matches "lost", 2 times in all`},
	{"log forbidden, and not there", []edit{rule(model.LogRule{Pattern: "lost", Severity: model.Error})}, model.Pass, "", ""},
	{"log forbidden, in both", []edit{rule(model.LogRule{Pattern: "lost", Severity: model.Error}), trial(hasLost), control(hasLost)}, model.Pass, "", ""},
	{"log forbidden a little", []edit{rule(model.LogRule{Pattern: "lost", Severity: model.Warning}), trial(hasLost)}, model.Pass, "warning log-forbidden", ""},
	{"log required", []edit{rule(model.LogRule{Pattern: "lost", Require: true, Severity: model.Error}), trial(hasLost)}, model.Pass, "", ""},
	{"log required, in the control", []edit{rule(model.LogRule{Pattern: "lost", Require: true, Severity: model.Error}), control(hasLost)}, model.Fail, "error log-missing", `nobody logged a line that matches "lost"`},

	// What was not seen.
	{"no control", []edit{func(o *model.Observation) { o.Control.Processes = nil }}, model.Unknown, "unproven no-control", ""},
	{"member not seen", []edit{trial(func(w *model.World) { w.Processes = w.Processes[:1] })}, model.Unknown, "unproven member-missing", "etcd2 was not seen"},
	{"trial deadline", []edit{trial(func(w *model.World) { w.DeadlineHit = true })}, model.Unknown, "unproven deadline", "ended the trial world"},
	{"control deadline", []edit{control(func(w *model.World) { w.DeadlineHit = true })}, model.Unknown, "unproven deadline", "ended the control world"},
	{"incomplete", []edit{trial(func(w *model.World) { w.Incomplete = []string{"file changes"} })}, model.Unknown, "unproven not-observed", "not observed in the trial: file changes"},

	// What would have left the world.
	{"outside needed", []edit{tries(outside), acts(&model.CommandResult{PID: 900, Exit: exit(7, 1)})}, model.Unknown, "unproven blocked,unproven action-failed", "curl tried to connect to tcp 10.0.0.7:443, outside of the world (and 1 more)"},
	{"outside ignored", []edit{tries(outside)}, model.Unknown, "unproven blocked", "curl tried to connect"},
	{"outside often", []edit{tries(outside, with(outside, func(a *model.Attempt) { a.PID = 961 }))}, model.Unknown, "unproven blocked", ""},
	{"outside does not excuse a lost member", []edit{tries(outside), trial(ends(1, signal("SIGSEGV", 1)))}, model.Fail, "error member-lost,unproven blocked", ""},
	{"outside by a member", []edit{tries(members)}, model.Unknown, "unproven blocked", "etcd1 tried to resolve"},
	{"outside by a member in both", []edit{tries(members), controlTries(members)}, model.Pass, "warning blocked", ""},
	{"outside by a member, unknown in the control", []edit{tries(members), controlTries(with(members, nameless))}, model.Pass, "warning blocked", ""},
	{"outside by a member, unknown in the trial", []edit{tries(with(members, nameless)), controlTries(members)}, model.Pass, "warning blocked", ""},
	{"outside by the action, unknown in the control", []edit{tries(outside), controlTries(with(outside, nameless))}, model.Unknown, "unproven blocked", ""},
	{"outside by nobody known", []edit{tries(with(outside, nameless))}, model.Unknown, "unproven blocked", "an unknown process tried"},
	{"outside in the control alone", []edit{controlTries(outside)}, model.Pass, "", ""},
	{"another peer in the control", []edit{tries(outside), controlTries(with(outside, func(a *model.Attempt) { a.Target = "tcp 10.0.0.8:443" }))}, model.Unknown, "unproven blocked", ""},
	{"failure after what the control tried too", []edit{tries(members), controlTries(members), acts(&model.CommandResult{Exit: exit(7, 1)})}, model.Fail, "error action-failed,warning blocked", ""},
	{"outside stubbed", []edit{tries(with(outside, func(a *model.Attempt) { a.Answer = model.AnswerStub }))}, model.Pass, "", ""},
	{"outside read", []edit{tries(with(outside, func(a *model.Attempt) { a.Answer = model.AnswerRead }))}, model.Pass, "", ""},
	{"outside written", []edit{tries(with(outside, func(a *model.Attempt) { a.Op, a.Answer, a.By = "http POST", "403: no", "policy" }))}, model.Unknown, "unproven blocked", "curl tried to use http POST with tcp 10.0.0.7:443"},
	{"outside by a check", []edit{trialProcess(model.Process{PID: 980, Cause: model.CauseCheck}), tries(with(outside, func(a *model.Attempt) { a.PID = 980 }))}, model.Pass, "", ""},
	{"a forbidden peer", []edit{tries(with(outside, func(a *model.Attempt) { a.Answer, a.By = model.AnswerRefused, "policy" })), acts(&model.CommandResult{})}, model.Unknown, "unproven peer-refused,unproven action-unfinished", "no run may touch it"},
	{"a forbidden peer in the control", []edit{controlTries(with(outside, func(a *model.Attempt) { a.Answer = model.AnswerRefused }))}, model.Unknown, "unproven peer-refused", "in the control"},
	{"a call", []edit{tries(model.Attempt{PID: 960, Op: "reboot", By: "seccomp", Answer: "EPERM", Count: 1})}, model.Unknown, "unproven blocked", "pid 960 tried to call reboot"},
	{"a call with a target", []edit{tries(model.Attempt{Member: "etcd1", PID: 11, Op: "mount", Target: "/x", By: "seccomp", Count: 1})}, model.Unknown, "unproven blocked", "etcd1 tried to call mount on /x"},
	{"a call that programs try", []edit{tries(model.Attempt{Member: "etcd1", PID: 11, Op: "io_uring_setup", By: "seccomp", Answer: "EPERM", Count: 1})}, model.Pass, "warning blocked", "no member was lost"},

	// Several at once.
	{"errors outrank", []edit{checks(ok, bad, ok, ok), trial(ends(1, exit(1, 1))), acts(&model.CommandResult{Exit: exit(1, 1)}), control(func(w *model.World) { w.DeadlineHit = true }), trialProcess(tool(exit(1, 1)))},
		model.Fail, "error member-lost,error action-failed,error check-failed,unproven deadline,warning process-failed", "(and 2 more)"},
}

func TestJudge(t *testing.T) {
	for _, tt := range judgements {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(healthy(tt.edits...))
			var rules []string
			for _, f := range v.Findings {
				rules = append(rules, string(f.Severity)+" "+f.Rule)
				if f.Message == "" {
					t.Errorf("%s has no message", f.Rule)
				}
			}
			if got := strings.Join(rules, ","); got != tt.rules {
				t.Errorf("findings: got %q, want %q", got, tt.rules)
			}
			if v.Status != tt.status {
				t.Errorf("status: got %s, want %s", v.Status, tt.status)
			}
			if !strings.Contains(v.Reason, tt.reason) || v.Reason == "" {
				t.Errorf("reason: got %q, want %q in it", v.Reason, tt.reason)
			}
			text, _ := json.Marshal(v)
			if strings.Contains(string(text), `:null`) {
				t.Errorf("a slice is nil: %s", text)
			}
		})
	}
}

func TestNothingAtAllIsUnknown(t *testing.T) {
	if v := Judge(model.Observation{}); v.Status != model.Unknown {
		t.Errorf("got %s: %s", v.Status, v.Reason)
	}
}

func TestUnknownSeverityFails(t *testing.T) {
	if s := status([]model.Finding{{Severity: "grave"}}); s != model.Fail {
		t.Errorf("got %s", s)
	}
}

func TestFoldCounts(t *testing.T) {
	v := Judge(healthy(trialProcess(tool(exit(1, 1))), trialProcess(tool(exit(1, 2)))))
	if want := "etcdctl, started in the trial, ended with exit status 1 while the action ran (2 times)"; v.Findings[0].Message != want {
		t.Errorf("got %q", v.Findings[0].Message)
	}
}
