//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/testcluster"
)

// TestPrivRules has a real server do what rules are about, and what they are not
// to mind.
func TestPrivRules(t *testing.T) {
	dir, cluster, _ := underLoad(t, testcluster.Redis)
	binary := pilotBinary(t)
	master := cluster.Members[0]
	host, port, _ := strings.Cut(master.Client, ":")
	tell := func(command string) []string {
		return []string{"bash", "-c", fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf '%s\r\n' >&3; sleep 0.2`, host, port, command)}
	}
	pid, replica := strconv.Itoa(master.PID), strconv.Itoa(cluster.Members[1].PID)
	ping := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'PING\r\n' >&3; read -t 2 l <&3; [[ $l == +PONG* ]]`, host, port)
	keys := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'EXISTS precious\r\n' >&3; read -t 2 l <&3; echo "$l"`, host, port)
	if out, err := exec.CommandContext(t.Context(), "bash", tell("SET precious 1")[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	own := "env '" + strings.Join(master.Env, "' '") + "' "
	preserve := "bash -c '" + strings.ReplaceAll(keys, "'", `'\''`) + "'"
	again := "kill -9 " + pid + "; while kill -0 " + pid + " 2>/dev/null; do sleep 0.1; done; sleep 1; setsid " + own + strings.Join(master.Args, " ") + " </dev/null >/dev/null 2>&1 & sleep 1"
	// Nobody is let in for 4 s.
	shut := fmt.Sprintf(`tell() { exec 3<>/dev/tcp/%s/%s; printf "$1" >&3; sleep 0.2; }; tell 'CONFIG SET requirepass secret\r\n'; `+
		`(sleep 4; tell 'AUTH secret\r\nCONFIG SET requirepass ""\r\n') &`, host, port)
	warns := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; for i in {1..30}; do printf "CONFIG SET maxmemory $((100000 + i))\r\n" >&3; done; sleep 0.2`, host, port)
	crowd := fmt.Sprintf(`(for i in {1..400}; do exec {fd}<>/dev/tcp/%s/%s; done; sleep 10) & sleep 1`, host, port)
	name := fmt.Sprintf("redis-server-%d", master.PID)
	// It notices at the next write that the first one was not logged, and takes
	// them again when it could write the log.
	set := "exec 3<>/dev/tcp/" + host + "/" + port + "; said() { printf 'SET other %05000d\\r\\n' >&3; read -t 2 l <&3; [[ $l == \"$1\"* ]]; }; "
	full := set + "for i in {1..20}; do said -MISCONF && break; sleep 0.1; done; said -MISCONF || exit 1; for i in {1..60}; do said +OK && exit 0; sleep 0.1; done; exit 2"
	for _, c := range []struct {
		name   string
		status int
		rule   string // empty: no finding
		ofIt   bool   // of the master
		action []string
		flags  []string
	}{
		{"nothing", 0, "", false, tell("PING"), nil},
		{"a check, a key and a file that stay", 0, "", false, tell("SET other 1"), []string{"--check", "bash -c '" + strings.ReplaceAll(ping, "'", `'\''`) + "'", "--preserve", preserve}},
		{"deaf", 2, "service-gone", true, tell("CONFIG SET port 0"), nil},
		{"stopped", 2, "stuck", true, []string{"kill", "-STOP", pid}, nil},
		{"endless", 0, "busy", true, tell(`EVAL "while true do end" 0`), nil},
		{"killed", 2, "member-lost", true, []string{"kill", "-KILL", pid}, nil},
		{"crashed", 2, "member-lost", true, []string{"kill", "-SEGV", pid}, nil},
		{"started again", 0, "member-replaced", true, []string{"bash", "-c", again}, nil},
		{"well only later", 0, "late", false, []string{"bash", "-c", shut}, []string{"--patience", "20s", "--check", "bash -c '" + strings.ReplaceAll(ping, "'", `'\''`) + "'"}},
		{"warns again and again", 0, "retry-loop", false, []string{"bash", "-c", warns}, nil},
		{"crowded", 0, "swollen", true, []string{"bash", "-c", crowd}, nil},
		{"failed", 2, "action-failed", false, []string{"false"}, nil},
		{"a tool failed", 0, "process-failed", false, []string{"sh", "-c", "sh -c 'exit 3'; true"}, nil},
		{"endless action", 3, "action-unfinished", false, []string{"sleep", "60"}, []string{"--timeout", "3s"}},
		{"outside", 3, "blocked", false, []string{"bash", "-c", "(exec 3<>/dev/tcp/10.9.8.7/80) 2>/dev/null; true"}, nil},
		{"a check fails", 2, "check-failed", false, tell("CONFIG SET requirepass secret"), []string{"--check", "bash -c '" + strings.ReplaceAll(ping, "'", `'\''`) + "'"}},
		{"a key is gone", 2, "data-lost", false, tell("DEL precious"), []string{"--preserve", preserve}},
		{"a server that does not start", 0, "process-failed", false, []string{"sh", "-c", own + master.Args[0] + " --port nonsense; true"}, nil},
		{"no room", 0, "also-failed", false, []string{"bash", "-c", full}, []string{"--also-fail", "disk-full=3s:" + name + "@0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"--settle", "1s", "--pid", pid, "--pid", replica}, c.flags...)
			r := pilotRun(t, binary, dir, c.status, append(append(args, "--"), c.action...)...)
			i := slices.IndexFunc(r.Verdict.Findings, func(f model.Finding) bool { return f.Rule == c.rule })
			if c.rule == "" && len(r.Verdict.Findings) > 0 || c.rule != "" && (i < 0 || c.ofIt && r.Verdict.Findings[i].PID != master.PID) {
				t.Errorf("findings: %+v", r.Verdict.Findings)
			}
		})
	}

	// What a user says in pilot.yaml of checks and logs.
	file := filepath.Join(dir, "pilot.yaml")
	yaml := fmt.Sprintf(`members:
- {name: one, pid: %d}
- {name: two, pid: %d}
checks:
- {name: serves, tcp: %q, when: always}
- {name: append only file, file: %q, when: before}
- {name: saved, command: "ls %s", expect: dump.rdb, when: after}
logs:
- forbid: Received SIGTERM
- require: DB saved on disk
settle: 3s
`, master.PID, cluster.Members[1].PID, master.Client, filepath.Join(master.Data, "appendonlydir/appendonly.aof.manifest"), master.Data)
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		status int
		rules  []string
		action []string
	}{
		{"as they are to be", 0, nil, tell("BGSAVE")},
		{"nothing is saved", 2, []string{"check-failed", "log-missing"}, tell("PING")},
		{"down for a while", 2, []string{"check-interrupted", "log-forbidden"}, []string{"bash", "-c", "kill " + pid + again[strings.Index(again, ";"):]}},
	} {
		t.Run("as the user says: "+c.name, func(t *testing.T) {
			r := pilotRun(t, binary, dir, c.status, append([]string{"-f", file, "--"}, c.action...)...)
			for _, want := range c.rules {
				if !slices.ContainsFunc(r.Verdict.Findings, func(f model.Finding) bool { return f.Rule == want && f.Severity == model.Error }) {
					t.Errorf("no %s: %+v", want, r.Verdict.Findings)
				}
			}
		})
	}

	// What is so in the control too is not the action's doing.
	plain, serves := filepath.Join(dir, "plain.yaml"), filepath.Join(dir, "serves.yaml")
	logs := fmt.Sprintf("logs:\n- require: %s\n", deed)
	for path, yaml := range map[string]string{
		plain:  logs,
		serves: fmt.Sprintf("%s- forbid: DB saved on disk\nchecks:\n- {name: serves, tcp: %q, when: always}\n", logs, master.Client),
	} {
		if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	inBash := func(command []string) string { return command[2] }
	for _, c := range []struct {
		name     string
		script   string // that runs in each world
		file     string
		flags    []string
		status   int
		rule     string // which is found, or empty
		severity model.Severity
	}{
		{"stopped", "kill -STOP " + pid, plain, nil, 0, "", ""},
		{"endless", inBash(tell(`EVAL "while true do end" 0`)), plain, nil, 0, "", ""},
		{"outside", "(: 3<>/dev/tcp/10.9.8.7/80) 2>/dev/null", plain, nil, 0, "blocked", model.Warning},
		{"a check fails", "", plain, []string{"--check", "bash -c '[ $(" + strings.ReplaceAll(keys, "precious", "missing") + ") = :1 ]'"}, 2, "not-mended", model.Error},
		{"down for a while", fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'CONFIG SET port 0\r\n' >&3; sleep 1; printf 'CONFIG SET port %[2]s\r\n' >&3; sleep 0.2`, host, port),
			serves, nil, 0, "check-interrupted", model.Warning},
		{"saved", inBash(tell("BGSAVE")), serves, nil, 0, "", ""},
		{"a key is gone", inBash(tell("DEL precious")), plain, []string{"--preserve", preserve}, 0, "", ""},
		{"warns again and again", warns, plain, nil, 0, "", ""},
		{"crowded", crowd, plain, nil, 0, "", ""},
		{"crashed", "kill -SEGV " + pid, plain, nil, 3, "member-lost", model.Unproven},
		{"started again", again, plain, []string{"--settle", "3s"}, 3, "member-lost", model.Unproven},
		{"deaf", inBash(tell("CONFIG SET port 0")), plain, nil, 0, "", ""},
		{"well only later", shut, plain, []string{"--patience", "20s", "--check", "bash -c '" + strings.ReplaceAll(ping, "'", `'\''`) + "'"}, 0, "", ""},
		{"not well in time", shut, plain, []string{"--check", "bash -c '" + strings.ReplaceAll(ping, "'", `'\''`) + "'"}, 3, "check-noise", model.Unproven},
	} {
		t.Run("in the control too: "+c.name, func(t *testing.T) {
			args := append([]string{"-f", c.file, "--settle", "1s", "--pid", pid, "--pid", replica, "--pid", inWorlds(t, dir, c.script)}, c.flags...)
			r := pilotRun(t, binary, dir, c.status, append(args, "--", "sleep", "1.5")...)
			i := slices.IndexFunc(r.Verdict.Findings, func(f model.Finding) bool { return f.Rule == c.rule && f.Severity == c.severity })
			if c.rule == "" && len(r.Verdict.Findings) > 0 || c.rule != "" && i < 0 {
				t.Errorf("findings: %+v", r.Verdict.Findings)
			}
			for _, w := range []model.World{r.Trial, r.Control} {
				if !slices.ContainsFunc(w.LogMatches, func(m model.LogMatch) bool { return m.Pattern == deed }) {
					t.Errorf("the script did not run in the world %s", w.Name)
				}
			}
		})
	}
}

// TestPrivRulesLogs has a NATS log an error, in the trial and then in both worlds.
func TestPrivRulesLogs(t *testing.T) {
	dir, cluster, _ := underLoad(t, testcluster.NATS)
	binary := pilotBinary(t)
	var pids []string
	for _, pid := range cluster.PIDs() {
		pids = append(pids, strconv.Itoa(pid))
	}
	host, port, _ := strings.Cut(cluster.Members[0].Client, ":")
	garbage := fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'NONSENSE\r\n' >&3; sleep 0.2`, host, port)
	logged := func(flags ...string) bool {
		t.Helper()
		r := pilotRun(t, binary, dir, 0, append([]string{"--settle", "1s", "--pid", strings.Join(pids, ",")}, flags...)...)
		return slices.ContainsFunc(r.Verdict.Findings, func(f model.Finding) bool {
			return f.Rule == "log-error" && strings.Contains(f.Message, "parser ERROR")
		})
	}
	if !logged("--", "bash", "-c", garbage) {
		t.Error("an error is not told")
	}
	if logged("--", "true") {
		t.Error("an error is told where there is none")
	}
	if logged("--pid", inWorlds(t, dir, garbage), "--", "sleep", "1.5") {
		t.Error("an error is told that the control has too")
	}
}

// deed is what a script says that has run in a world.
const deed = "the deed is done"

// inWorlds starts a process that runs a script in each world it finds itself in,
// after the checks before the action, and nothing in production. It returns its
// number.
func inWorlds(t *testing.T, dir, script string) string {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, "deeds.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// A world does not have the process of the test.
	wait := fmt.Sprintf("exec 4<> <(:); while [[ -e /proc/%d ]]; do read -t 0.2 -u 4; done; read -t 0.4 -u 4; ", os.Getpid())
	cmd := exec.CommandContext(t.Context(), "bash", "-c", wait+script+"\necho "+deed+"; while true; do read -t 1 -u 4; done")
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Cancel(); _ = cmd.Wait() })
	return strconv.Itoa(cmd.Process.Pid)
}
