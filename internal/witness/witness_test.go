//go:build linux

package witness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
)

// start starts a process that says when it runs its program. It ends with the test.
func start(t *testing.T, dir string, args ...string) (pid int, input *os.File) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir, cmd.Stdin = dir, r
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil { // returns after the execve(2)
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid, w
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func look(t *testing.T, spec model.Spec, config string) drift.Fingerprint {
	t.Helper()
	f, err := Look(t.Context(), spec, config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// program copies one that can be changed under the process that runs it.
func program(t *testing.T, dir, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, name), string(text))
}

// TestLook changes one thing after the other on this host. Each must be noticed,
// and nothing else.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	sh := program(t, dir, "sh")
	script, config := write(t, filepath.Join(dir, "r.sh"), "true\n"), write(t, filepath.Join(dir, "pilot.yaml"), "x")
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(data, "wal"), "1")
	pid, input := start(t, dir, sh, "-c", "read x; exec "+sh+` -c "read y; read z"`)
	spec := model.Spec{Members: []model.Member{{Name: "a", PID: pid}, {Name: "b", Data: []string{data}, Args: []string{"cat", "-", "-u"}}},
		Action: []string{"/bin/sh", "-c", "./r.sh --config=" + config + " | cat"}, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")}}
	then := look(t, spec, config)
	if then.Boot == "" || then.Members[0].Apart || !slices.Equal(then.Env, spec.Env) || len(then.Members[1].Up) > 0 {
		t.Errorf("got %+v", then)
	}
	expect := func(name string, want ...string) {
		t.Helper()
		got := drift.Compare(then, look(t, spec, config))
		for i, c := range got {
			if i >= len(want) || !strings.HasPrefix(c.String(), want[i]) {
				t.Errorf("%s: got %q", name, c)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want %q", name, got, want)
		}
	}
	expect("nothing")
	write(t, script, "false\n")
	expect("script", script+": was")
	write(t, script, "true\n")
	expect("the script as it was")
	write(t, config, "y")
	expect("a file behind an equal sign, which is also pilot.yaml", config+": was", config+": was")
	write(t, config, "x")

	old, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(sh); err != nil {
		t.Fatal(err)
	}
	expect("program removed", fmt.Sprintf("member a (pid %d): program %s: was", pid, sh))
	write(t, sh, "upgraded")
	expect("program upgraded", fmt.Sprintf("member a (pid %d): program %s: was", pid, sh))
	write(t, sh, string(old))
	expect("the same program installed again")

	write(t, filepath.Join(data, "wal"), "12")
	expect("data of one that is down", "member b: data: was")
	write(t, filepath.Join(data, "wal"), "1")
	then = look(t, spec, config)
	file, err := os.OpenFile(filepath.Join(data, "wal"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(filepath.Join(data, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, c := range []struct {
		name string
		file *os.File
		up   int
	}{{"a reader of its data", reader, 0}, {"a writer of its data", file, 1}} {
		holder := exec.Command("sleep", "100")
		holder.ExtraFiles = []*os.File{c.file}
		holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		if got := look(t, spec, "").Members[1].Up; len(got) != c.up {
			t.Errorf("%s: got %q", c.name, got)
		}
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}
	file.Close()
	other, _ := start(t, "/", "cat", "-", "-u")
	expect("its command", fmt.Sprintf("member b: was down, is up as pid %d (cat - -u): pilot it again", other))
	_ = syscall.Kill(other, syscall.SIGKILL)
	testenv.WaitFor(t, "its end", func() bool { return len(look(t, spec, "").Members[1].Up) == 0 })

	// The process stays, and becomes another program: the file of that name now,
	// which is a copy.
	if _, err := input.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "the execve", func() bool {
		args, _ := procfs.Cmdline(pid)
		return len(args) > 0 && !strings.Contains(args[len(args)-1], "read x")
	})
	expect("executes another", fmt.Sprintf("member a (pid %d): executes: was", pid), fmt.Sprintf("member a (pid %d): command line: was", pid))
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "its end", func() bool {
		stat, err := procfs.ReadStat(pid)
		return err != nil || stat.State == 'Z'
	})
	expect("ended", "member a: was up as pid")
}

// TestExecutedAgain tells a process that executes its own program once more, with the
// same arguments, from one that does not.
func TestExecutedAgain(t *testing.T) {
	dir := t.TempDir()
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	mark := filepath.Join(dir, "again")
	pid, input := start(t, dir, path, "-c", `read x; if [ ! -e again ]; then touch again; exec "$BASH" -c "$BASH_EXECUTION_STRING"; fi; read y`)
	spec := model.Spec{Members: []model.Member{{Name: "a", PID: pid}}, Action: []string{"/bin/true"}, Dir: "/"}
	then := look(t, spec, "")
	if then.Members[0].Stack == 0 {
		t.Skip("the stack is hidden")
	}
	if _, err := input.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	var got []drift.Change
	testenv.WaitFor(t, "the second execve", func() bool {
		now := look(t, spec, "")
		got = drift.Compare(then, now)
		// While it executes, its arguments are nobody's.
		_, err := os.Stat(mark)
		return err == nil && len(got) > 0 && now.Members[0].Gone == "" && len(now.Members[0].Args) > 0
	})
	if len(got) != 1 || !strings.HasSuffix(got[0].String(), "program: was executed once, is executed again: pilot it again") {
		t.Errorf("got %v", got)
	}
}

func TestNamed(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"r.sh", "conf", "aof", "both"} {
		write(t, filepath.Join(dir, name), "x")
	}
	tool := write(t, filepath.Join(bin, "tool"), "x")
	write(t, filepath.Join(bin, "both"), "x")
	live := filepath.Join(dir, "live")
	if err := os.Mkdir(live, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(live, "aof"), "x")
	env := []string{"PATH=/none", "PATH=" + bin + ":relative"}
	in := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, nil},
		{[]string{"-x", "none", "live", "/dev/null", "/proc/self/stat"}, nil}, // directories, devices and what the kernel makes up
		{[]string{"r.sh", "./r.sh", filepath.Join(dir, "r.sh")}, in("r.sh")},
		{[]string{"--config=conf"}, in("conf")},
		{[]string{"-c", "cd x && ./r.sh;tool <conf"}, append(append(in("r.sh"), tool), in("conf")...)},
		{[]string{"-c", `"$(cat 'conf')"`}, in("conf")},
		{[]string{"both"}, in("both")},
		{[]string{"live/aof", "aof"}, in("aof")},
		{[]string{"./tool"}, nil},
	} {
		got := named(append([]string{"/bin/sh"}, c.args...), dir, env, []string{live})
		if want := append([]string{"/bin/sh"}, c.want...); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", c.args, got, want)
		}
	}
	if got := named([]string{"./r.sh", "conf"}, dir, env, nil); !slices.Equal(got, in("r.sh", "conf")) {
		t.Errorf("a program in the directory: got %q", got)
	}
}

// TestProgramThatIsGone keeps its line, so that it is noticed.
func TestProgramThatIsGone(t *testing.T) {
	f := look(t, model.Spec{Action: []string{"/none/tool"}, Dir: "/none"}, "/none/pilot.yaml")
	if len(f.Files) != 1 || f.Files[0].Inode != 0 || f.Place.Inode != 0 || f.Config == nil || f.Config.Inode != 0 {
		t.Errorf("got %+v", f)
	}
}

func TestRoles(t *testing.T) {
	check := func(line string) model.Probe { return model.Probe{Command: strings.Split(line, " ")} }
	for _, c := range []struct{ checks, want string }{
		{"", ""},
		{"sh -c probe etcd health|etcdctl", ""},
		{"/p probe etcd health a:1 b:2", "/p probe etcd roles a:1 b:2"},
		{"/p probe nats health a:1|/p probe nats numbers a:2", "/p probe nats roles a:2"},
		{"/p probe redis health a:1|/p probe etcd numbers b:1", "/p probe redis roles a:1"},
	} {
		var probes []model.Probe
		for line := range strings.SplitSeq(c.checks, "|") {
			probes = append(probes, check(line))
		}
		if got := strings.Join(question(probes), " "); got != c.want {
			t.Errorf("%s: got %q", c.checks, got)
		}
	}
	pilot := write(t, filepath.Join(t.TempDir(), "pilot"), "#!/bin/sh\n[ \"$SERVES\" ] || exit 1\necho \"$4 leads\"; echo \"$5 follows\"; echo \"$4 leads\"\n")
	spec := model.Spec{Probes: []model.Probe{check(pilot + " probe redis health b:1 a:2")}, Env: []string{"SERVES=1"}, Dir: "/"}
	if lines, failed := roles(t.Context(), spec); failed != "" || strings.Join(lines, ",") != "a:2 follows,b:1 leads" {
		t.Errorf("got %q, %q", lines, failed)
	}
	spec.Env = []string{}
	if lines, failed := roles(t.Context(), spec); len(lines) > 0 || failed != "no server says" {
		t.Errorf("got %q, %q", lines, failed)
	}
}

func TestLookIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, model.Spec{Action: []string{"/bin/true"}, Dir: "/"}, ""); err == nil {
		t.Error("no error")
	}
}
