//go:build linux

package escapetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/worldinit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The test binary is executed again under these names.
const (
	agentName  = "pilot-escape-agent"
	memberName = "pilot-escape-member"
	canaryName = "pilot-escape-canary"
	whoName    = "pilot-escape-who"
	abortName  = "pilot-escape-abort"

	actionVerb = "escape" // by its first argument, since it is an action
)

// inheritedFile is a descriptor of the member, of the canary's file.
const inheritedFile = 3

// shmName is a file of the host's /dev/shm.
var shmName = "pilot-escape"

func TestMain(m *testing.M) {
	worldinit.Reexec()
	switch os.Args[0] {
	case agentName:
		agentMain()
	case memberName:
		memberMain(os.Args[1], os.Args[2])
	case canaryName:
		canaryMain()
	case whoName:
		if os.Geteuid() != 0 {
			os.Exit(1)
		}
	case abortName:
		_ = unix.Kill(os.Getpid(), unix.SIGQUIT)
		select {}
	default:
		if len(os.Args) == 4 && os.Args[1] == actionVerb {
			actionMain(os.Args[2], os.Args[3])
			return
		}
		os.Exit(m.Run())
	}
}

// A result is what an attempt came to.
type result struct {
	Who, Name string
	Err       string // empty when it succeeded
}

// attack makes every attempt.
func attack(who, canaryDir string) (out []result, err error) {
	text, err := os.ReadFile(filepath.Join(canaryDir, "canary.json"))
	if err != nil {
		return nil, err
	}
	var c canary
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	for _, a := range attempts() {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // never given back: its state may have changed
			done <- a.try(&c)
		}()
		r := result{Who: who, Name: a.name}
		select {
		case err := <-done:
			if err != nil {
				r.Err = err.Error()
			}
		case <-time.After(10 * time.Second):
			r.Err = "no answer"
		}
		out = append(out, r)
	}
	return out, nil
}

// memberMain is production: it waits for a file that only a world has.
func memberMain(dir, canaryDir string) {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go")); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	results, err := attack("phantom", canaryDir)
	if err != nil {
		results = []result{{Who: "phantom", Err: err.Error()}}
	}
	save(filepath.Join(dir, "results"), results)
	select {}
}

func save(path string, results []result) {
	text, _ := json.Marshal(results)
	if err := os.WriteFile(path+".new", text, 0o644); err == nil {
		_ = os.Rename(path+".new", path)
	}
}

// actionMain attacks as the action, and then has the member attack.
func actionMain(dir, canaryDir string) {
	all, err := attack("action", canaryDir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	path := filepath.Join(dir, "results")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(path)
		var theirs []result
		if err == nil && json.Unmarshal(text, &theirs) == nil {
			all = append(all, theirs...)
			break
		}
		if time.Now().After(deadline) {
			fmt.Println("the phantom has not come to its end")
			os.Exit(1)
		}
	}
	text, _ := json.Marshal(all)
	fmt.Printf("%s\n", text)
}

// agentMain pilots. Before the action it waits for a line.
func agentMain() {
	var spec model.Spec
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	report, err := agent.Engine{}.Run(context.Background(), spec, os.Args[1], func(phase, _ string) {
		if phase == "act" {
			fmt.Println(phase)
			_, _ = in.ReadString('\n')
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

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

func TestPrivEscape(t *testing.T) {
	privileged(t)
	dir, err := os.MkdirTemp("/var/tmp", "pilot-escape-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // nobody runs a program in it
		t.Fatal(err)
	}
	if err := os.WriteFile("/dev/shm/"+shmName, []byte(magic), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove("/dev/shm/" + shmName) })
	data, nest, work := filepath.Join(dir, "member"), filepath.Join(dir, "canary"), filepath.Join(dir, "run")
	for _, d := range []string{data, nest, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	space := osthread.New()
	t.Cleanup(space.Close)
	if err := space.Do(newNetwork); err != nil {
		t.Fatal(err)
	}
	bird := start(t, space, []string{canaryName, nest, "/run"})
	bird.expect(t, "ready")
	member := start(t, space, []string{memberName, data, nest}, filepath.Join(nest, "file"))

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := model.Spec{
		Members: []model.Member{{Name: "member", PID: member.cmd.Process.Pid, Data: []string{data}}},
		Action:  []string{self, actionVerb, data, nest}, Dir: "/",
		MaxPause: time.Second, Timeout: 2 * time.Minute, Settle: 100 * time.Millisecond,
	}
	pilot := start(t, space, []string{agentName, work})
	line, _ := json.Marshal(spec)
	pilot.say(t, string(line))
	pilot.expect(t, "act")
	bird.say(t, "late")
	bird.expect(t, "ready")
	pilot.say(t, "go")
	var report model.Report
	if err := json.Unmarshal([]byte(pilot.line(t)), &report); err != nil {
		t.Fatal(err)
	}
	if report.Trial.Action == nil || !report.Trial.Action.OK() {
		t.Fatalf("the action ended badly: %+v", report.Trial.Action)
	}
	var results []result
	if err := json.Unmarshal([]byte(report.Trial.Action.Output), &results); err != nil {
		t.Fatalf("the action said %.300q: %v", report.Trial.Action.Output, err)
	}
	judge(t, results, report.Trial.Attempts)
	wrote := model.FileChange{Sign: "+", Path: newFile, New: int64(len("mine now"))}
	if !slices.Contains(report.Trial.Files, wrote) || slices.Contains(report.Control.Files, wrote) {
		t.Errorf("files: trial %v, control %v", report.Trial.Files, report.Control.Files)
	}
	if _, err := os.Lstat(newFile); err == nil {
		t.Errorf("the host has %s", newFile)
	}
	bird.say(t, "report")
	if hits := bird.line(t); hits != "" {
		t.Errorf("reached production: %s", hits)
	}
	if name, _ := os.Hostname(); name == "escaped" {
		t.Error("the host has another name")
	}
	if b, _ := os.ReadFile("/dev/shm/" + shmName); string(b) != magic {
		t.Errorf("shared memory of the host holds %q", b)
	}
}

// judge compares the results with the table, and prints it.
func judge(t *testing.T, results []result, recorded []model.Attempt) {
	t.Helper()
	type by struct{ who, op string }
	count := map[by]int{}
	for _, a := range recorded {
		who := "action"
		if a.Member != "" {
			who = "phantom"
		}
		if a.Op == "send" {
			who = "" // the sender may have closed its socket before it was found
		}
		count[by{who, a.Op}] += a.Count
		// What is seen at the edge of the network comes without one.
		if a.Op != "send" && !strings.Contains(a.Target, "127.0.0.1:") && !strings.Contains(a.Target, "[::1]:") && !slices.ContainsFunc(a.Stack, func(f string) bool { return strings.Contains(f, "escapetest.attack.func1") }) {
			t.Errorf("%s %s: its stack is %q", a.Op, a.Target, a.Stack)
		}
	}
	wanted := map[by]int{}
	for _, who := range []string{"action", "phantom"} {
		for _, a := range attempts() {
			var r *result
			for i := range results {
				if results[i].Who == who && results[i].Name == a.name {
					r = &results[i]
				}
			}
			switch {
			case r == nil:
				t.Errorf("%s: %s: was not tried", who, a.name)
				continue
			case r.Err == "no answer":
				t.Errorf("%s: %s: no answer", who, a.name)
			case r.Err == "" && a.want == refused:
				t.Errorf("%s: %s: succeeded", who, a.name)
			}
			if a.op != "" {
				key := by{who, a.op}
				if a.op == "send" {
					key.who = ""
				}
				wanted[key]++
			}
			outcome := r.Err
			if outcome == "" {
				outcome = "done inside the world"
			}
			t.Logf("%-7s %-48s %-26s recorded as %-18q %s", who, a.name, a.by, a.op, outcome)
		}
	}
	for op, n := range wanted {
		if count[op] < n {
			t.Errorf("%v: %d attempts are recorded, %d were made", op, count[op], n)
		}
	}
	t.Logf("%d attempts, each made twice", len(attempts()))
}

// A helper is a process of the test that takes and says lines.
type helper struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func start(t *testing.T, space *osthread.Thread, args []string, files ...string) *helper {
	t.Helper()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: args, Stderr: os.Stderr}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	h := &helper{cmd: cmd}
	var err error
	var out io.Reader
	if args[0] != memberName {
		if h.in, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if out, err = cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		h.out = bufio.NewReaderSize(out, 1<<20)
	}
	if err := space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c, ok := h.in.(io.Closer); ok {
			_ = c.Close()
		}
		timer := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		if h.in == nil {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		timer.Stop()
	})
	return h
}

func (h *helper) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (h *helper) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", h.cmd.Args[0], err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (h *helper) expect(t *testing.T, want string) {
	t.Helper()
	if got := h.line(t); got != want {
		t.Fatalf("%s says %q, want %q", h.cmd.Args[0], got, want)
	}
}

// newNetwork gives the calling thread, and what is started on it, a network of
// its own with a loopback device.
func newNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
