//go:build linux

// Package testenv has what privileged tests share: where they run, how they wait,
// and that they leave nothing behind.
package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/vishvananda/netlink"
)

// Patience bounds each wait.
const Patience = 20 * time.Second

// Privileged skips t when processes cannot be forked here. Under
// PILOT_REQUIRE_PRIVILEGED it fails instead: green must mean that something ran.
func Privileged(t testing.TB) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "":
		t.Fatal("privileged test cannot run: not root")
	default:
		t.Skip("needs root")
	}
}

// Main runs the tests, and fails them when they have left directories of [Dir],
// or processes. It does not return.
func Main(m *testing.M) {
	code := m.Run()
	if left := leftovers(); len(left) > 0 && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers() (out []string) {
	out, _ = filepath.Glob(filepath.Join(disk, fmt.Sprintf("pilot-*-%d-*", os.Getpid())))
	children, _ := procfs.Children(os.Getpid())
	for _, pid := range children {
		out = append(out, fmt.Sprintf("process %d", pid))
	}
	return out
}

// disk has file systems of the kind that data lies on: /tmp may be memory.
const disk = "/var/tmp"

// Dir makes a directory on a disk, which is erased with the test. Its name tells
// of what kind of test it is, and of which process.
func Dir(t testing.TB, kind string) string {
	t.Helper()
	dir, err := os.MkdirTemp(disk, fmt.Sprintf("pilot-%s-%d-", kind, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Space returns a thread in a network namespace of its own, in which processes
// of the test are started.
func Space(t testing.TB) *osthread.Thread {
	t.Helper()
	space := osthread.New()
	t.Cleanup(space.Close)
	if err := space.Do(newNetwork); err != nil {
		t.Fatal(err)
	}
	return space
}

// newNetwork gives the calling thread, and what is started on it, a network with
// a loopback device.
func newNetwork() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// WaitFor waits until done, or fails the test. It looks often at first.
func WaitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	const most = 5 * time.Millisecond
	rest := 100 * time.Microsecond
	for deadline := time.Now().Add(Patience); !done(); time.Sleep(rest) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
		rest = min(most, rest*5/4)
	}
}

// Ask executes the test's program again in space, under the name agent, gives it
// a request and reads its outcome. The agent must not be the parent of those it
// traces: tests are.
func Ask(t testing.TB, space *osthread.Thread, agent string, request, outcome any) {
	t.Helper()
	input, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{agent}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, os.Stderr
	if err := space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("agent: %v", err)
	}
	if err := json.Unmarshal(out.Bytes(), outcome); err != nil {
		t.Fatalf("agent said %q: %v", out.Bytes(), err)
	}
}

// Rounds counts the complete lines of a victim's log, and returns those that
// tell of a defect. Rounds are numbered without a gap.
func Rounds(log string) (n int, bad []string) {
	lines := strings.Split(log, "\n")
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "ok "+strconv.Itoa(n)+" ") {
			bad = append(bad, line)
		}
		n++
	}
	return n, bad
}

// GoesOn wants the victim that reports to the file log to do so many more rounds,
// and none to tell of a defect.
func GoesOn(t testing.TB, log string, rounds int) {
	t.Helper()
	count := func() int {
		text, _ := os.ReadFile(log)
		n, bad := Rounds(string(text))
		if len(bad) > 0 {
			t.Fatalf("production: %s", bad[0])
		}
		return n
	}
	began := count()
	WaitFor(t, "production goes on", func() bool { return count() >= began+rounds })
}

// Faults is which ways a step is to fail in: all of them, or with
// PILOT_FAULTS=fewer, as in continuous integration, the one whose turn it is.
func Faults[T any](all []T, turn int) []T {
	if os.Getenv("PILOT_FAULTS") != "fewer" {
		return all
	}
	i := turn % len(all)
	return all[i : i+1]
}
