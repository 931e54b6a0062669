//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testcluster"
	"github.com/pilotexec/pilot/internal/testenv"
)

// A shop is a Redis cluster whose last replica is down, and a recovery that starts
// it again.
type shop struct {
	*testing.T
	dir, binary, script string
	cluster             *testcluster.Cluster
	master, lost        *testcluster.Member
}

func openShop(t *testing.T) *shop {
	testenv.Privileged(t)
	bin, err := testcluster.Build(t.Context(), testcluster.Redis)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{T: t, dir: publicDir(t), binary: pilotBinary(t)}
	s.cluster, err = testcluster.Start(t.Context(), testcluster.Redis, filepath.Join(s.dir, "cluster"), bin, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Stop)
	s.master, s.lost = s.cluster.Members[0], s.cluster.Members[2]
	s.tell(s.master, "MSET apple 1 pear 2 plum 3")
	s.kill(s.lost)
	yaml := "cluster: shop\npreset: redis\nsettle: 1s\nmembers:\n"
	for _, m := range s.cluster.Members {
		yaml += fmt.Sprintf("- {name: %s, match: \"redis-server %s\", data: %s, command: [%s]}\n", m.Name, m.Client, m.Data, strings.Join(m.Args, ", "))
	}
	yaml += fmt.Sprintf("checks:\n- {name: keys, command: [bash, -c, %q], preserve: true}\n", ask(s.master, "KEYS *")+` | grep -v '^[*$+]'`)
	s.write("pilot.yaml", yaml)
	s.script = s.write("recover.sh", s.recovery())
	return s
}

// recovery starts the lost replica as it was, and waits until it follows. What it
// does where there is a file called evil cannot be known beforehand.
func (s *shop) recovery() string {
	library := ""
	for _, e := range s.lost.Env {
		if strings.HasPrefix(e, "LD_LIBRARY_PATH=") {
			library = "export " + e
		}
	}
	return fmt.Sprintf(`#!/bin/bash
%s
[ -e %s/evil ] && { %s; exit 0; }
setsid %s </dev/null >>%s 2>&1 &
echo $! >%s/pid
for i in {1..300}; do
  { %s; } 2>/dev/null | grep -q master_link_status:up && exit 0
  sleep 0.1
done
exit 1
`, library, s.dir, ask(s.master, "DEL apple pear"), strings.Join(s.lost.Args, " "), s.lost.Log, s.dir, ask(s.lost, "INFO replication"))
}

// ask is a line for bash that sends a command to a server and prints the answer.
func ask(m *testcluster.Member, command string) string {
	host, port, _ := strings.Cut(m.Client, ":")
	return fmt.Sprintf(`( exec 3<>/dev/tcp/%s/%s && printf '%s\r\nQUIT\r\n' >&3 && tr -d '\r' <&3 )`, host, port, command)
}

func (s *shop) tell(m *testcluster.Member, command string) string {
	s.Helper()
	out, err := exec.CommandContext(s.Context(), "bash", "-c", ask(m, command)).CombinedOutput()
	if err != nil {
		s.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func (s *shop) kill(m *testcluster.Member) {
	s.Helper()
	if err := s.cluster.Kill(m.Name); err != nil {
		s.Fatal(err)
	}
	// The master notices by the connection that breaks.
	testenv.WaitFor(s, "the master to lose a replica", func() bool { return strings.Contains(s.tell(s.master, "INFO replication"), "connected_slaves:1\n") })
}

func (s *shop) start(m *testcluster.Member) {
	s.Helper()
	if err := s.cluster.Restart(m.Name); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := s.cluster.WaitHealthy(ctx); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) write(name, text string) (path string) {
	s.Helper()
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		s.Fatal(err)
	}
	return path
}

// run has pilot run end with a status.
func (s *shop) run(want int, action ...string) {
	s.Helper()
	pilotRun(s.T, s.binary, s.dir, want, append([]string{"-f", filepath.Join(s.dir, "pilot.yaml"), "--"}, action...)...)
}

// apply has pilot apply of the latest run end with a status, and say texts.
func (s *shop) apply(want int, flags string, texts ...string) {
	s.Helper()
	got, stdout, stderr := runPilot(s.T, s.binary, s.dir, os.Environ(), append([]string{"apply", "latest"}, strings.Fields(flags)...)...)
	said := stdout + stderr
	if got != want {
		s.Errorf("apply %s: exit status %d, want %d:\n%s", flags, got, want, said)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			s.Errorf("apply %s does not say %q:\n%s", flags, text, said)
		}
	}
}

// TestPrivApply pilots a recovery, and does it for real: not while anything is
// otherwise than at the trial.
func TestPrivApply(t *testing.T) {
	s := openShop(t)
	t.Cleanup(func() { // what apply has started is nobody's child
		text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
		pid, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && err2 == nil {
			if args, _ := procfs.Cmdline(pid); strings.Contains(strings.Join(args, " "), s.lost.Client) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	s.run(2, "false")
	s.apply(4, "--confirm shop", "its verdict is fail")

	s.run(0, s.script)
	s.apply(0, "--dry-run", "will do FOR REAL", s.master.Client+" master of 1 replicas", `check "redis health": passes, as before the trial`)
	s.apply(4, "", "nobody can be asked")
	s.apply(4, "--confirm market", `the cluster is called "shop"`)
	s.apply(4, "--confirm shop --max-age 1ms", "age: may be 1ms")
	s.write("recover.sh", s.recovery()+"# edited\n")
	s.apply(4, "--confirm shop", s.script+": was")
	s.write("recover.sh", s.recovery())
	yaml, err := os.ReadFile(filepath.Join(s.dir, "pilot.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("pilot.yaml", string(yaml)+"timeout: 9s\n")
	s.apply(4, "--confirm shop", "pilot.yaml: was")
	s.write("pilot.yaml", string(yaml))
	s.tell(s.cluster.Members[1], "REPLICAOF NO ONE")
	s.apply(4, "--confirm shop", "leader and members: was", s.cluster.Members[1].Client+" replica of")
	host, port, _ := strings.Cut(s.master.Client, ":")
	s.tell(s.cluster.Members[1], "REPLICAOF "+host+" "+port)
	testenv.WaitFor(t, "the replica to follow again", func() bool {
		return strings.Contains(s.tell(s.cluster.Members[1], "INFO replication"), "master_link_status:up") &&
			strings.Contains(s.tell(s.master, "INFO replication"), "connected_slaves:1\n")
	})
	s.apply(0, "--dry-run")
	s.tell(s.master, "RENAME plum prune")
	s.apply(4, "--confirm shop", `lines of "keys": then 0 lost, now 1 lost ("plum")`)
	s.tell(s.master, "RENAME prune plum")
	s.start(s.lost)
	s.apply(4, "--confirm shop", "member "+s.lost.Name+": was down, is up as pid "+strconv.Itoa(s.lost.PID))
	s.kill(s.lost)

	s.run(0, s.script)
	if _, err := os.Stat(filepath.Join(s.dir, "pid")); err == nil {
		t.Fatal("a trial, or a refused apply, started the replica")
	}
	s.apply(0, "--confirm shop", "ok       the action: exit status 0", `ok       check "redis health": passes`, `ok       lines of "keys": nothing else lost`, "production did as the trial did")
	if info := s.tell(s.lost, "INFO replication"); !strings.Contains(info, "master_link_status:up") {
		t.Errorf("the replica does not follow:\n%s", info)
	}
	s.apply(4, "--confirm shop", "it was applied at")
	s.apply(4, "--confirm shop --again", "member "+s.lost.Name+": was down, is up")
}

// TestPrivApplyDiffers has a member restarted after the trial, and then an
// action do harm that the trial could not know of.
func TestPrivApplyDiffers(t *testing.T) {
	s := openShop(t)
	s.run(0, s.script)
	replica := s.cluster.Members[1]
	pid := replica.PID
	if err := s.cluster.Kill(replica.Name); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Restart(replica.Name); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "the replica to follow again", func() bool {
		return strings.Contains(s.tell(s.master, "INFO replication"), "connected_slaves:1\n")
	})
	s.apply(4, "--confirm shop", fmt.Sprintf("member %s: was up as pid %d", replica.Name, pid), fmt.Sprintf("is up as pid %d", replica.PID))

	s.run(0, s.script)
	s.write("evil", "")
	s.apply(2, "--confirm shop", "ok       the action: exit status 0", "!!! LOST ON PRODUCTION: apple\n", "!!! LOST ON PRODUCTION: pear\n", "keys 3, then 1", "production did NOT do as the trial did")
}
