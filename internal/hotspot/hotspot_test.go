//go:build linux

package hotspot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

const program = `public class Busy {
	static int spin(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i ^ n; return sum; }
	public static void main(String[] args) throws Exception {
		System.out.println("up");
		for (int i = 0; ; i++) { if (spin(10_000) == 42) System.out.println(i); if (i % 100 == 0) Thread.sleep(1); }
	}
}
`

// start runs a program in Java until the test ends.
func start(t *testing.T, flags ...string) *exec.Cmd {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "Busy.java")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(java, append(flags, file)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, left := range []string{"perf-%d.map", ".java_pid%d"} {
			_ = os.Remove(fmt.Sprintf("/tmp/"+left, cmd.Process.Pid))
		}
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func perfMap(t *testing.T, pid int) error {
	t.Helper()
	if !Is(pid) {
		t.Fatal("not taken for a Java virtual machine")
	}
	pidfd, err := sys.PidfdOpen(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return PerfMap(ctx, pid, pidfd)
}

func TestPerfMap(t *testing.T) {
	pid := start(t).Process.Pid
	for range 2 { // the second time it listens already
		if err := perfMap(t, pid); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/tmp/perf-%d.map", pid))
		if err != nil || !bytes.Contains(text, []byte("Interpreter")) {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/tmp/.attach_pid%d", pid)); err == nil {
		t.Error("the sign is left")
	}
}

// TestNoAnswer does not end a machine for which SIGQUIT would be the end.
func TestNoAnswer(t *testing.T) {
	for _, flag := range []string{"-Xrs", "-XX:+DisableAttachMechanism"} {
		cmd := start(t, flag)
		if err := perfMap(t, cmd.Process.Pid); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("%s: %v", flag, err)
		}
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s: it has ended", flag)
		}
	}
	if Is(os.Getpid()) {
		t.Error("this is none")
	}
}
