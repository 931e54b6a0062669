//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
)

// pilotBinary builds the command once per test binary.
func pilotBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(publicDir(t), "pilot")
	out, err := exec.Command("go", "build", "-o", path, "github.com/pilotexec/pilot/cmd/pilot").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// publicDir makes a directory that others than root can use, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := testenv.Dir(t, "e2e")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sleeper starts a process to be forked. It ends with the test.
func sleeper(t *testing.T, wrap ...string) *exec.Cmd {
	t.Helper()
	argv := append(wrap, "sleep", "300")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(5 * time.Second)
	for { // until it is what it was started as
		if exe, _ := os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe"); filepath.Base(exe) == "sleep" {
			return cmd
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v did not start", argv)
		}
		time.Sleep(time.Millisecond)
	}
}

// call is one use of pilot that must fail early.
type call struct {
	args   []string
	env    []string
	attr   *syscall.SysProcAttr
	status int
	says   string // in the line of the error
}

func (c call) check(t *testing.T, binary string) {
	t.Helper()
	state := publicDir(t)
	cmd := exec.CommandContext(t.Context(), binary, c.args...)
	cmd.Env = append([]string{"XDG_STATE_HOME=" + state, "PATH=" + os.Getenv("PATH"), "HOME=" + state}, c.env...)
	cmd.SysProcAttr, cmd.Dir = c.attr, "/"
	var stderr, stdout bytes.Buffer
	cmd.Stderr, cmd.Stdout = &stderr, &stdout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != c.status {
		t.Errorf("exit status %d, want %d\n%s", got, c.status, &stderr)
	}
	var lines []string
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "pilot: error: ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], c.says) {
		t.Errorf("want one line of error with %q, got %q in\n%s", c.says, lines, &stderr)
	}
	if stdout.Len() > 0 {
		t.Errorf("wrote to stdout: %s", &stdout)
	}
	_ = filepath.WalkDir(state, func(path string, _ os.DirEntry, err error) error {
		if base := filepath.Base(path); err == nil && (base == "image" || base == "worlds") {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
}

func TestPrivBadInput(t *testing.T) {
	testenv.Privileged(t)
	binary := pilotBinary(t)
	victim := sleeper(t)
	pid := strconv.Itoa(victim.Process.Pid)
	bad := filepath.Join(t.TempDir(), "pilot.yaml")
	if err := os.WriteFile(bad, []byte("members:\n  - nmae: x\n    pid: "+pid+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "pilot.yaml")
	if err := os.WriteFile(missing, []byte("members:\n  - name: x\n    pid: "+pid+"\n    data: /nonexistent/data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]call{
		"no such pid":    {args: []string{"run", "--pid", "4194303", "--", "true"}, status: 4, says: "4194303"},
		"no match":       {args: []string{"run", "--match", "no-such-program-anywhere", "--", "true"}, status: 4, says: "no-such-program"},
		"no command":     {args: []string{"run", "--pid", pid, "--", "/no/such/command"}, status: 64, says: "/no/such/command"},
		"nothing":        {args: []string{"run", "--pid", pid}, status: 64, says: "command"},
		"malformed yaml": {args: []string{"run", "-f", bad, "--", "true"}, status: 64, says: "nmae"},
		"no data":        {args: []string{"run", "-f", missing, "--", "true"}, status: 4, says: "/nonexistent/data"},
		"unknown flag":   {args: []string{"run", "--pidd", pid, "--", "true"}, status: 64, says: "pidd"},
		"unwritable":     {args: []string{"run", "--pid", pid, "--", "true"}, env: []string{"XDG_STATE_HOME=/proc/state"}, status: 1, says: "/proc/state"},
		"not root":       {args: []string{"run", "--pid", pid, "--", "true"}, attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, status: 4, says: "root"},
		"kernel thread":  {args: []string{"run", "--pid", "2", "--", "true"}, status: 4, says: "kernel thread"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "kernel thread" {
				if comm, _ := os.ReadFile("/proc/2/comm"); string(comm) != "kthreadd\n" {
					t.Skip("pid 2 is no kernel thread in this pid namespace")
				}
			}
			c.check(t, binary)
		})
	}
	if got := traces(victim.Process.Pid); len(got) > 0 {
		t.Errorf("left behind in production: %v", got)
	}
}

func TestPrivRefuseTraced(t *testing.T) {
	testenv.Privileged(t)
	victim := sleeper(t)
	// A debugger, for a moment: the thread that seizes must be the one that lets go.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := sys.Seize(victim.Process.Pid, 0); err != nil {
		t.Fatal(err)
	}
	call{args: []string{"run", "--pid", strconv.Itoa(victim.Process.Pid), "--", "true"}, status: 4, says: "traced"}.check(t, pilotBinary(t))
}

func TestPrivRefuseOtherNetwork(t *testing.T) {
	testenv.Privileged(t)
	here, there := sleeper(t), sleeper(t, "unshare", "--net", "--")
	pids := strconv.Itoa(here.Process.Pid) + "," + strconv.Itoa(there.Process.Pid)
	call{args: []string{"run", "--pid", pids, "--", "true"}, status: 4, says: "net namespace"}.check(t, pilotBinary(t))
}

// TestPrivDiskFull copies more than the state directory's file system holds.
func TestPrivDiskFull(t *testing.T) {
	testenv.Privileged(t)
	binary := pilotBinary(t)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "big"), bytes.Repeat([]byte("x"), 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	victim := sleeper(t)
	call{
		args: []string{"run", "--pid", strconv.Itoa(victim.Process.Pid), "--data", data, "--", "true"},
		env:  []string{"XDG_STATE_HOME=" + small}, status: 4, says: "space",
	}.check(t, binary)
	if got := traces(victim.Process.Pid); len(got) > 0 {
		t.Errorf("left behind in production: %v", got)
	}
}

// TestPrivVanish pilots processes that end at any moment of it.
func TestPrivVanish(t *testing.T) {
	testenv.Privileged(t)
	binary := pilotBinary(t)
	for i := range 12 {
		victim := exec.Command("sleep", strconv.FormatFloat(0.01*float64(i), 'f', 3, 64))
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), binary, "run", "-q", "--settle", "0s", "--pid", strconv.Itoa(victim.Process.Pid), "--", "true")
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		_ = victim.Wait()
		switch status := cmd.ProcessState.ExitCode(); status {
		case 0, 2, 3: // it lived long enough to be forked
		case 1, 4:
			if n := strings.Count(string(out), "pilot: error: "); n != 1 {
				t.Errorf("after %d ms: %d errors (%v)\n%s", 10*i, n, err, out)
			}
		default:
			t.Errorf("after %d ms: exit status %d\n%s", 10*i, status, out)
		}
	}
}

// TestPrivInterrupt cancels runs at any moment: production is let go and
// everything is erased.
func TestPrivInterrupt(t *testing.T) {
	testenv.Privileged(t)
	binary := pilotBinary(t)
	victim := sleeper(t)
	pid := strconv.Itoa(victim.Process.Pid)
	lines := [][]string{
		{"run", "-q", "--settle", "1s", "--pid", pid, "--", "sleep", "60"},
		{"compare", "-q", "--settle", "1s", "--pid", pid, "--controls", "2", "sleep 60", "sleep 61", "sleep 62"},
		{"run", "-q", "--settle", "1ms", "--pid", pid, "--repeat", "99", "--", "true"},
	}
	for n := range 14 * len(lines) {
		i, line := n/len(lines), lines[n%len(lines)]
		state := t.TempDir()
		cmd := exec.CommandContext(t.Context(), binary, line...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(i) * 20 * time.Millisecond
		time.Sleep(after) // the moment is what is tested
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		// Before its first instructions pilot can only die of the signal.
		if status := cmd.ProcessState.ExitCode(); status != 130 && !(status == -1 && i < 2) {
			t.Errorf("interrupted after %v: exit status %d\n%s", after, status, &out)
		}
		if got := traces(victim.Process.Pid); len(got) > 0 {
			t.Errorf("interrupted after %v: left behind in production: %v", after, got)
		}
		_ = filepath.WalkDir(state, func(path string, _ os.DirEntry, err error) error {
			if base := filepath.Base(path); err == nil && (base == "image" || base == "worlds") {
				t.Errorf("interrupted after %v: left behind: %s", after, path)
			}
			return nil
		})
	}
}

// TestPrivHostSockets tries to reach a socket of the host from a world.
func TestPrivHostSockets(t *testing.T) {
	testenv.Privileged(t)
	// Not below a directory that worlds have for themselves.
	dir, err := os.MkdirTemp("/var/lib", "pilot-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if conn, err := net.Dial("unix", path); err != nil {
		t.Fatalf("the socket does not even work here: %v", err)
	} else {
		_ = conn.Close()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dial := filepath.Join(publicDir(t), "dial")
	if out, err := exec.Command("cp", self, dial).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	victim := sleeper(t)
	cmd := exec.CommandContext(t.Context(), pilotBinary(t), "run", "-q", "--settle", "0s", "--pid", strconv.Itoa(victim.Process.Pid), "--", dial, dialVerb, path)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+publicDir(t))
	// It cannot, and that it tried is told: what it wanted nobody knows.
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(out), "tried to connect to unix "+path) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPrivRefuseStranger pilots one of two processes that share memory.
func TestPrivRefuseStranger(t *testing.T) {
	testenv.Privileged(t)
	f, err := os.CreateTemp(publicDir(t), "shared")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(4096), os.Remove(f.Name())); err != nil {
		t.Fatal(err)
	}
	var pids []string
	for range 2 {
		cmd := exec.Command("/proc/self/exe", mapVerb)
		cmd.ExtraFiles = []*os.File{f}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
		})
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "mapped\n" {
			t.Fatalf("victim said %q, %v", line, err)
		}
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	binary := pilotBinary(t)
	call{args: []string{"run", "--pid", pids[0], "--", "true"}, status: 4, says: "pid " + pids[1]}.check(t, binary)
}
