//go:build linux

package deadlinetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/worldinit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	if os.Args[0] == agentName {
		agentMain()
		return
	}
	os.Exit(m.Run())
}

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-deadline-agent"

// patience bounds each wait.
const patience = 20 * time.Second

// slack is how much longer than the deadline production may be stopped: what it
// takes to let go of everything on a busy machine. See docs/design/0001-fork.md.
const slack = 60 * time.Millisecond

// privileged skips t when processes cannot be forked here. Under
// PILOT_REQUIRE_PRIVILEGED it fails instead: green must mean that something ran.
func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
		t.Fatal("privileged test cannot run: not root")
	}
	t.Skip("needs root")
}

// A scene is the victims of one test in a network namespace of their own.
type scene struct {
	dir     string
	space   *osthread.Thread
	victims []*victim
	made    int // victims
}

func newScene(t *testing.T) *scene {
	t.Helper()
	privileged(t)
	dir, err := os.MkdirTemp("/var/tmp", "pilot-deadline-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &scene{dir: dir, space: osthread.New()}
	t.Cleanup(s.space.Close)
	err = s.space.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request is what the test tells its agent.
type request struct {
	Members  []model.Member
	MaxPause time.Duration
	Attempts int
	As       string // what the agent does: take, or one of the words in agentMain
}

// outcome is one attempt to take a snapshot.
type outcome struct {
	Err   string
	Pause model.Pause
	Took  time.Duration // with what comes before and after the pause
	// States are of the phantoms' threads, in /proc's letters, before and after
	// they were sent SIGCONT.
	States []string
}

// An agent is a running agent of the test.
type agent struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

// agent starts one that takes snapshots of all victims.
func (s *scene) agent(t *testing.T, attempts int, maxPause time.Duration) *agent {
	t.Helper()
	return s.agentAs(t, "take", attempts, maxPause)
}

func (s *scene) agentAs(t *testing.T, as string, attempts int, maxPause time.Duration) *agent {
	t.Helper()
	req := request{MaxPause: maxPause, Attempts: attempts, As: as}
	for _, v := range s.victims {
		req.Members = append(req.Members, v.member())
	}
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &agent{cmd, bufio.NewScanner(out)}
}

// next returns the next outcome, and false when there is none.
func (a *agent) next(t *testing.T) (o outcome, ok bool) {
	t.Helper()
	if !a.out.Scan() {
		return o, false
	}
	if err := json.Unmarshal(a.out.Bytes(), &o); err != nil {
		t.Fatalf("agent said %q: %v", a.out.Bytes(), err)
	}
	return o, true
}

// take has an agent make attempts, and wants every victim unharmed after them.
func (s *scene) take(t *testing.T, attempts int, maxPause time.Duration) (all []outcome) {
	t.Helper()
	for _, v := range s.victims {
		if v.mode != "exit" {
			v.reset(t)
		}
	}
	a := s.agent(t, attempts, maxPause)
	for {
		o, ok := a.next(t)
		if !ok {
			break
		}
		all = append(all, o)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("agent: %v", err)
	}
	if len(all) != attempts {
		t.Errorf("%d of %d attempts came to an end", len(all), attempts)
	}
	return all
}

func agentMain() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch req.As {
	case repairAgent:
		err := osthread.New().Do(func() error { return stayInRepair(req) })
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case worldAgent:
		_ = json.NewEncoder(os.Stdout).Encode(world(context.Background(), req))
		return
	case noBatchAgent:
		if err := forbidURing(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	out := json.NewEncoder(os.Stdout)
	for range req.Attempts {
		if err := out.Encode(attempt(req)); err != nil {
			os.Exit(1)
		}
	}
}

// attempt takes a snapshot and closes it.
func attempt(req request) (o outcome) {
	began := time.Now()
	tracer := osthread.New()
	defer tracer.Close()
	err := tracer.Do(func() error {
		snap, err := capture.Take(context.Background(), capture.Config{Members: req.Members, MaxPause: req.MaxPause})
		if err != nil {
			return err
		}
		o.Pause = snap.Pause
		return snap.Close()
	})
	if err != nil {
		o.Err = err.Error()
	}
	o.Took = time.Since(began)
	return o
}

// A tally sums outcomes up.
type tally struct {
	worked, failed int
	pause, stopped time.Duration // the longest, as the agent and as production saw it
	errors         map[string]int
}

func sum(all []outcome, victims ...*victim) tally {
	s := tally{errors: map[string]int{}}
	for _, o := range all {
		if o.Err == "" {
			s.worked++
		} else {
			s.failed++
			s.errors[o.Err]++
		}
		s.pause = max(s.pause, o.Pause.Total)
	}
	for _, v := range victims {
		s.stopped = max(s.stopped, v.worst())
	}
	return s
}

// row prints one line of the table of pauses.
func row(t *testing.T, what string, limit time.Duration, s tally, note string, args ...any) {
	t.Helper()
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	line := fmt.Sprintf("%s: max-pause %s ms; worked %d, failed cleanly %d; longest stop %s ms in production, %s ms reported",
		what, ms(limit), s.worked, s.failed, ms(s.stopped), ms(s.pause))
	if note != "" {
		line += "; " + fmt.Sprintf(note, args...)
	}
	t.Log(line)
	for e, n := range s.errors {
		t.Logf("  %d times: %s", n, e)
	}
	path := os.Getenv("PILOT_TABLE")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// within wants the longest stop to be inside of the limit and its slack.
func (s tally) within(t *testing.T, limit time.Duration) {
	t.Helper()
	if s.stopped > limit+slack {
		t.Errorf("production was stopped for %v, the limit is %v", s.stopped, limit)
	}
}
