//go:build linux

package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/testcluster"
)

// TestRecoveries runs each recovery for real, on a cluster of its own: what
// pilot must foresee.
func TestRecoveries(t *testing.T) {
	if os.Getenv("PILOT_SYSTEMS") != "1" {
		if testing.Short() {
			t.Skip("-short: starts real servers")
		}
		if os.Geteuid() != 0 {
			t.Skip("not root; PILOT_SYSTEMS=1 runs it all the same")
		}
	}
	tests := []struct {
		name   string
		script func(*Scene) string
		heals  bool
		stderr string
	}{
		{"A", func(s *Scene) string { return s.RecoveryA }, false, "is out of range [lastIndex(0)]"},
		{"B", func(s *Scene) string { return s.RecoveryB }, true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			s, err := Prepare(ctx, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			quiet, err := s.Production(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if quiet.Errors+quiet.Losses != 0 || quiet.Elections || quiet.MembersMoved || quiet.Missing != "" || quiet.Foreign != 0 {
				t.Errorf("production before the recovery: %v", quiet)
			}

			start := time.Now()
			out, err := runForReal(ctx, t, test.script(s))
			t.Logf("%v after %v", err, time.Since(start).Round(time.Millisecond))
			if healed := err == nil; healed != test.heals {
				t.Errorf("healed: %t\n%s", healed, out)
			}
			if !strings.Contains(out, test.stderr) {
				t.Errorf("output has no %q:\n%s", test.stderr, out)
			}
			check := exec.CommandContext(ctx, s.Check[0], s.Check[1:]...).Run()
			if healthy := check == nil; healthy != test.heals {
				t.Errorf("check: %v", check)
			}
			after, err := s.Production(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("production: %v", after)
			if after.Errors+after.Losses != 0 || after.Acked == 0 || after.Missing != "" || after.Foreign != 0 {
				t.Errorf("production after the recovery: %v", after)
			}
			if after.MembersMoved != test.heals {
				t.Errorf("members moved: %t", after.MembersMoved)
			}
		})
	}
}

// TestSummaryNoticesWrites checks the tripwire itself: a write that leaked
// into production is seen.
func TestSummaryNoticesWrites(t *testing.T) {
	if os.Getenv("PILOT_SYSTEMS") != "1" && (testing.Short() || os.Geteuid() != 0) {
		t.Skip("needs root and no -short; PILOT_SYSTEMS=1 runs it all the same")
	}
	ctx := t.Context()
	s, err := Prepare(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bin, err := testcluster.Build(ctx, testcluster.Etcd)
	if err != nil {
		t.Fatal(err)
	}
	put := exec.CommandContext(ctx, bin.Etcdctl, "--endpoints="+s.Survivors[0].Client, "put", "leaked", "1")
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("put: %v: %s", err, out)
	}
	sum, err := s.Production(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Foreign != 1 || sum.Untouched() {
		t.Errorf("got %v", sum)
	}
}

// runForReal runs a recovery in a process group that t ends: it leaves a
// member behind.
func runForReal(ctx context.Context, t *testing.T, script string) (string, error) {
	t.Helper()
	// The output is a file: of a pipe, the member that goes on would keep
	// the other end open.
	out, err := os.Create(script + ".out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, script)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	text, readErr := os.ReadFile(out.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(bytes.ToValidUTF8(text, nil)), err
}
