//go:build linux

package membertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
	"golang.org/x/sys/unix"
)

// TestPrivRootlessFirst forks number 1 of a container that an ordinary user made.
func TestPrivRootlessFirst(t *testing.T) {
	for _, kind := range []string{
		"inside", "member", "threads", "timers", "pending", "locks", "unixpair", "unixlisten", "eventfd", "signalfd",
		"shmfile", "shmanon", "deleted", "pipe", "epoll",
	} {
		t.Run(kind, func(t *testing.T) {
			contain(t, rootless, true, member{kind, victim.Identity{}}).forkInside(t)
		})
	}
}

// TestPrivRootlessOther forks others than number 1, two of them connected.
func TestPrivRootlessOther(t *testing.T) {
	for _, kinds := range [][]string{
		{"inside"}, {"threads"}, {"timers"}, {"pending"}, {"locks"}, {"unixpair"},
		{"tcp-server", "tcp-client"}, {"unix-server", "unix-client"}, {"inside", "member", "inside"},
	} {
		t.Run(kinds[0], func(t *testing.T) {
			var members []member
			for _, kind := range kinds {
				members = append(members, member{kind, victim.Identity{}})
			}
			contain(t, rootless, false, members...).forkInside(t)
		})
	}
}

// TestPrivRootmadeContainer forks members of a container that has process numbers
// of its own, and the host's users.
func TestPrivRootmadeContainer(t *testing.T) {
	for _, first := range []bool{true, false} {
		contain(t, rootmade, first, member{"inside", victim.Identity{}}).forkInside(t)
		contain(t, rootmade, first, member{"member", ordinary()}).forkInside(t)
	}
	contain(t, rootmade, false, member{"tcp-server", victim.Identity{}}, member{"tcp-client", ordinary()}).forkInside(t)
}

// TestPrivMappedContainer forks members of several users of a container.
func TestPrivMappedContainer(t *testing.T) {
	contain(t, mapped, true, member{"inside", victim.Identity{}}).forkInside(t)
	contain(t, mapped, true, member{"member", ordinary()}).forkInside(t)
	contain(t, mapped, false, member{"tcp-server", victim.Identity{}}, member{"tcp-client", ordinary()}, member{"member", ordinary()}).forkInside(t)
}

// forkInside is fork, by an agent in the namespaces of the container.
func (s *scene) forkInside(t *testing.T) outcome {
	t.Helper()
	o := s.agent(t, request{Doctor: true})
	if refusals := o.refusals(); len(refusals) > 0 || len(o.Problems) > 0 {
		t.Errorf("doctor: %v %v", &model.RefusedError{Refusals: refusals}, o.Problems)
	}
	s.joinContainer(t)
	return s.forkBy(t, request{Take: true})
}

// joinContainer has further agents started in the container, as those are which
// an agent outside starts.
func (s *scene) joinContainer(t *testing.T) {
	t.Helper()
	s.space = osthread.New()
	t.Cleanup(s.space.Close)
	if err := s.space.Do(func() error { return join(s.one) }); err != nil {
		t.Fatal(err)
	}
}

// TestPrivRootlessRun runs an action, which sees the numbers and users of the
// container and has no more rights than there.
func TestPrivRootlessRun(t *testing.T) {
	for name, first := range map[string]bool{"first": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			s := contain(t, rootless, first, member{"inside", victim.Identity{}})
			inner := numberOf(t, s.members[0].PID)
			script := strings.Join([]string{
				"id -u", "id -G", "kill -0 1 && echo alive", fmt.Sprintf("kill -0 %d && echo there", inner),
				// All but this shell, and what it starts.
				"ps -e -o pid=,ppid= | awk -v me=$$ '$2 == 0 && $1 != me { print $1 }'", "cat /proc/1/comm",
				"cat /etc/shadow 2>&1 >/dev/null | grep -o denied", "kill -9 1; kill -0 1 && echo still", "echo err >> /dev/stderr",
				// An orphan falls to number 1, and is seen to its end.
				"(sleep 0.05 &)",
			}, "\n")
			o := s.agent(t, request{Action: []string{"/bin/sh", "-c", script}})
			if len(o.Problems) > 0 || o.Report == nil {
				t.Fatalf("run: %v", o.Problems)
			}
			r := o.Report
			want := fmt.Sprintf("0\n0\nalive\nthere\n1\n%d\npilot-reaper\ndenied\nstill\nerr", inner)
			if first {
				want = "0\n0\nalive\nthere\n1\nexe\ndenied\nstill\nerr"
			}
			if !r.Trial.Action.OK() || strings.TrimSpace(r.Trial.Action.Output) != want {
				t.Errorf("action: %+v\nwant %q", r.Trial.Action, want)
			}
			if r.Verdict.Status == model.Fail || len(r.Leftovers) > 0 || len(r.Trial.Incomplete) > 0 || len(r.Trial.Attempts) > 0 {
				t.Errorf("%v: %s; leftovers %q, incomplete %q, attempts %+v", r.Verdict.Status, r.Verdict.Reason, r.Leftovers, r.Trial.Incomplete, r.Trial.Attempts)
			}
			orphans := 0
			for _, p := range r.Trial.Processes {
				if p.Phantom && (p.PID != s.members[0].PID || p.Number != inner || p.Exit != nil) {
					t.Errorf("phantom: %+v", p)
				}
				if slices.Equal(p.Args, []string{"sleep", "0.05"}) && p.Exit != nil {
					orphans++
				}
			}
			wantNumbers(t, r.Trial)
			if orphans != 1 {
				t.Errorf("the end of the orphan was not seen: %+v", r.Trial.Processes)
			}
			s.wantAlive(t)
			s.wantClean(t)
		})
	}
}

// wantNumbers wants events to call processes as the list of processes does.
func wantNumbers(t *testing.T, w model.World) {
	t.Helper()
	names, seen := map[int]string{}, map[int]bool{}
	for _, p := range w.Processes {
		names[p.PID] = p.Member
	}
	for _, e := range w.Events {
		if member, known := names[e.PID]; !known || member != e.Member {
			t.Errorf("an event of process %d, which is not listed, or not of %q: %+v", e.PID, e.Member, e)
		}
		seen[e.PID] = true
	}
	for _, p := range w.Processes {
		if !seen[p.PID] {
			t.Errorf("no event of %+v", p)
		}
	}
}

// TestPrivRootlessKillAgent kills agents at random moments. Nothing of theirs may
// fall to number 1 of the container, which is production, or hold it up.
func TestPrivRootlessKillAgent(t *testing.T) {
	for name, first := range map[string]bool{"first": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			s := contain(t, rootless, first, member{"inside", victim.Identity{}})
			began := threadsOf(t, s.members[0].PID)
			whole := time.Now()
			s.runKilled(t, 0)
			span := time.Since(whole)
			const kills = 30
			for i := range kills {
				s.runKilled(t, rand.N(span)+time.Millisecond)
				for _, log := range s.logs {
					if n, bad := progress(log); len(bad) > 0 {
						t.Fatalf("after kill %d: %d of %d rounds of %s went wrong, first %q", i, len(bad), n, log, bad[0])
					}
				}
			}
			s.wantClean(t)
			s.wantAlive(t)
			testenv.WaitFor(t, "helpers end", func() bool { return threadsOf(t, s.members[0].PID) <= began+3 })
			s.runKilled(t, 0)
			s.wantClean(t)
		})
	}
}

// runKilled starts a run and kills its agent after a while; 0 lets it end.
func (s *scene) runKilled(t *testing.T, after time.Duration) {
	t.Helper()
	input, err := json.Marshal(request{Members: s.members, Dir: filepath.Join(s.dir, "fork"), Action: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{agentName}, Stdin: bytes.NewReader(input), Stdout: &out}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if after == 0 {
		err := cmd.Wait()
		var o outcome
		if err := errors.Join(err, json.Unmarshal(out.Bytes(), &o)); err != nil || len(o.Problems) > 0 {
			t.Fatalf("agent: %v %v", err, o.Problems)
		}
	} else {
		time.Sleep(after)
		// The one inside has production in its hands. It would end in good order
		// with the one outside.
		inner, _ := procfs.Children(cmd.Process.Pid)
		for _, pid := range inner {
			if args, _ := procfs.Cmdline(pid); len(args) == 1 && args[0] == "pilot-agent-inside" {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if len(inner) == 0 {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
	}
	// The agent inside, and phantoms that are being killed, may still write.
	testenv.WaitFor(t, "the agent's files go", func() bool { return os.RemoveAll(filepath.Join(s.dir, "fork")) == nil })
}

// wantClean wants nothing of pilot's to be left in the container.
func (s *scene) wantClean(t *testing.T) {
	t.Helper()
	space, err := procfs.Namespace(s.one, "pid")
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]bool{s.one: true}
	for _, m := range s.members {
		want[m.PID] = true
	}
	testenv.WaitFor(t, "all of pilot's in the container ends", func() bool {
		pids, err := procfs.Processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			// A zombie has no namespaces, but its parent knows of it.
			if got, err := procfs.Namespace(pid, "pid"); err == nil && got == space && !want[pid] {
				return false
			}
		}
		for pid := range want {
			children, err := procfs.Children(pid)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range children {
				if !want[c] {
					return false
				}
			}
			if procfs.Tracer(pid) != 0 {
				return false
			}
		}
		return true
	})
}

// numberOf returns what a process is called in its own pid namespace.
func numberOf(t *testing.T, pid int) int {
	t.Helper()
	s, err := procfs.ReadStatus(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.NSpid[len(s.NSpid)-1]
}

// TestPrivContainerEnds ends a container under a run. Its parent must hear of that
// as soon as without pilot, though processes of pilot's end with it, and the run
// must not take it for the recovery's fault.
func TestPrivContainerEnds(t *testing.T) {
	for name, first := range map[string]bool{"first": true, "other": false} {
		t.Run(name, func(t *testing.T) {
			s := contain(t, rootless, first, member{"inside", victim.Identity{}})
			input, err := json.Marshal(request{
				Members: s.members, Dir: filepath.Join(s.dir, "fork"), Action: []string{"/bin/sleep", "10"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{agentName}, Stdin: bytes.NewReader(input), Stdout: &out, Stderr: os.Stderr}
			if err := s.space.Do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			testenv.WaitFor(t, "the action runs", func() bool { return acting(s.one) })
			stat, err := procfs.ReadStat(s.one)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := unix.Kill(s.one, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// Besides what the kernel takes: pilot looks ten times a second.
			testenv.WaitFor(t, "the parent of the container hears of its end", func() bool {
				parent, err := procfs.ReadStat(stat.PPID)
				return err != nil || parent.State == 'Z'
			})
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the container ended after %v", took)
			}
			var o outcome
			if err := errors.Join(cmd.Wait(), json.Unmarshal(out.Bytes(), &o)); err != nil || o.Report == nil {
				t.Fatalf("the run: %v %v", err, o.Problems)
			}
			r := o.Report
			if r.Verdict.Status != model.Unknown || r.Trial.Ended != "ended with the container of the members" || len(r.Leftovers) > 0 {
				t.Errorf("%v: %s; the trial %q, leftovers %q", r.Verdict.Status, r.Verdict.Reason, r.Trial.Ended, r.Leftovers)
			}
		})
	}
}

// TestPrivContainerFirstEnds has number 1 of a world end, and with it, as in the
// container, all others. Its end and theirs are seen as they are.
func TestPrivContainerFirstEnds(t *testing.T) {
	s := contain(t, rootless, false, member{"inside", victim.Identity{}}, member{"inside", victim.Identity{}})
	home := filepath.Join(s.dir, "home")
	s.members = append(s.members, model.Member{Name: "one", PID: s.one, Args: []string{victim.HoldName}, Data: []string{home}})
	o := s.agent(t, request{Action: []string{"/bin/sh", "-c", "kill -QUIT 1; sleep 10"}}) // Go ends by it, with a message
	if len(o.Problems) > 0 || o.Report == nil {
		t.Fatalf("run: %v", o.Problems)
	}
	r := o.Report
	for _, p := range r.Trial.Processes {
		want := model.Exit{Signal: "SIGKILL"}
		if p.Member == "one" {
			want = model.Exit{Code: 2}
		}
		if p.Phantom && (p.Exit == nil || p.Exit.Code != want.Code || p.Exit.Signal != want.Signal) {
			t.Errorf("trial: %+v: %+v", p, p.Exit)
		}
	}
	if e := r.Trial.Action.Exit; e == nil || e.Signal != "SIGKILL" || r.Trial.Action.Duration > 5*time.Second {
		t.Errorf("action: %+v %+v", r.Trial.Action, e)
	}
	for _, p := range r.Control.Processes {
		if p.Exit != nil {
			t.Errorf("control: %+v: %+v", p, p.Exit)
		}
	}
	if r.Verdict.Status != model.Fail || len(r.Leftovers) > 0 {
		t.Errorf("%v: %s; leftovers %q", r.Verdict.Status, r.Verdict.Reason, r.Leftovers)
	}
	s.wantAlive(t)
	s.wantClean(t)
}

// acting reports whether a world of the container that pid is in runs a command.
func acting(pid int) bool {
	all, _ := procfs.Processes()
	for _, p := range all {
		if args, _ := procfs.Cmdline(p); len(args) == 2 && args[0] == "/bin/sleep" {
			return true
		}
	}
	return false
}
