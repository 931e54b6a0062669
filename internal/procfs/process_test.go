package procfs

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

func TestParseStrings(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "a": {"a"}, "a\x00": {"a"}, "a\x00b\x00": {"a", "b"}, "\x00": {""}, "a\x00\x00": {"a", ""}, "\x00\x00b\x00": {"", "", "b"},
	} {
		if got, err := ParseStrings([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	if got := parse(t, "objects/cmdline", ParseStrings); len(got) != 3 || got[2] != "/srv/out" {
		t.Errorf("%q", got)
	}
}

func TestParseNamespace(t *testing.T) {
	if n, err := ParseNamespace("net:[4026531840]"); err != nil || n != 4026531840 {
		t.Errorf("%d, %v", n, err)
	}
	for _, link := range []string{"", "net:", "net:[x]", "net:[1", "net:[1]x"} {
		if _, err := ParseNamespace(link); err == nil {
			t.Errorf("%q: no error", link)
		}
	}
}

// TestSelf holds what the readers tell of this process against what it knows.
func TestSelf(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	pid := os.Getpid()
	check := func(what string, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v, as expected %v", what, err, ok)
		}
	}
	status, err := ReadStatus(pid)
	check("status", err, status.Tgid == pid && status.PPID == os.Getppid() && status.UIDs[1] == os.Geteuid())
	status, err = ReadTaskStatus(pid, pid)
	check("task status", err, status.Tgid == pid)
	stat, err := ReadStat(pid)
	check("stat", err, stat.PID == pid && stat.PPID == os.Getppid() && stat.StartTime > 0 && stat.Threads > 0)
	task, err := ReadTaskStat(pid, pid)
	check("task stat", err, task.StartTime == stat.StartTime)
	args, err := Cmdline(pid)
	check("cmdline", err, slices.Equal(args, os.Args))
	env, err := Environ(pid)
	check("environ", err, len(env) > 0)
	exe, err := Exe(pid)
	self, _ := os.Executable()
	check("exe", err, exe == self)
	cwd, err := Cwd(pid)
	wd, _ := os.Getwd()
	check("cwd", err, filepath.Base(cwd) == filepath.Base(wd))
	root, err := Root(pid)
	check("root", err, root == "/")
	tids, err := Tasks(pid)
	check("tasks", err, slices.Contains(tids, pid) && slices.IsSorted(tids))
	pids, err := Processes()
	check("processes", err, slices.Contains(pids, pid) && slices.IsSorted(pids))
	spaces, err := Namespaces(pid)
	check("namespaces", err, spaces["mnt"] != 0 && spaces["pid"] == spaces["pid_for_children"])
	maps, err := Maps(pid)
	check("maps", err, slices.ContainsFunc(maps, func(v VMA) bool { return v.Path == self && v.Exec }))
	smaps, err := Smaps(pid)
	check("smaps", err, slices.ContainsFunc(smaps, func(v VMA) bool { return v.Path == self && v.Has("ex") && v.Rss > 0 }))
	_, err = ReadTimers(pid)
	check("timers", err, true)
	mounts, err := Mountinfo(pid)
	check("mountinfo", err, slices.ContainsFunc(mounts, func(m Mount) bool { return m.Point == "/" }))
	_, err = NetNetlink(pid)
	check("netlink", err, true)
}

func TestSelfDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	pid := os.Getpid()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(42, 0); err != nil {
		t.Fatal(err)
	}
	fds, err := FDs(pid)
	if err != nil || !slices.Contains(fds, int(f.Fd())) {
		t.Errorf("fds %v, %v", fds, err)
	}
	if link, err := FDLink(pid, int(f.Fd())); err != nil || link != f.Name() {
		t.Errorf("link %q, %v", link, err)
	}
	if info, err := ReadFDInfo(pid, int(f.Fd())); err != nil || info.Pos != 42 || info.Flags&syscall.O_ACCMODE != syscall.O_RDWR {
		t.Errorf("fdinfo %+v, %v", info, err)
	}
}

func TestSelfSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	pid := os.Getpid()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	path := filepath.Join(t.TempDir(), "s")
	x, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	tcp, err := NetTCP(pid)
	if err != nil || !slices.ContainsFunc(tcp, func(s InetSocket) bool { return s.Local.String() == l.Addr().String() && s.State == Listen }) {
		t.Errorf("tcp: %v not found, %v", l.Addr(), err)
	}
	udp, err := NetUDP(pid)
	if err != nil || !slices.ContainsFunc(udp, func(s InetSocket) bool { return s.Local.String() == u.LocalAddr().String() }) {
		t.Errorf("udp: %v not found, %v", u.LocalAddr(), err)
	}
	unix, err := NetUnix(pid)
	if err != nil || !slices.ContainsFunc(unix, func(s UnixSocket) bool { return s.Path == path && s.Listening() }) {
		t.Errorf("unix: %v not found, %v", path, err)
	}
}

func TestChildrenAndZombie(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	kids, err := Children(os.Getpid())
	if err != nil || !slices.Contains(kids, pid) {
		t.Errorf("children %v, %v", kids, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := ReadStat(pid); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("of a process that is gone: %v", err)
	}
}

func TestGone(t *testing.T) {
	const pid = 1 << 30 // above any pid_max
	for name, read := range map[string]func() error{
		"maps":       func() error { _, err := Maps(pid); return err },
		"tasks":      func() error { _, err := Tasks(pid); return err },
		"children":   func() error { _, err := Children(pid); return err },
		"namespaces": func() error { _, err := Namespaces(pid); return err },
		"tcp":        func() error { _, err := NetTCP(pid); return err },
		"fdinfo":     func() error { _, err := ReadFDInfo(pid, 0); return err },
	} {
		if err := read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := slurp(t.TempDir(), nil); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("reading a directory: %v", err)
	}
	if _, err := parsed("testdata/linux-6.18/README.md", ParseStat); err == nil {
		t.Error("a text was parsed")
	}
	if _, err := parseChildren([]byte("1 x")); err == nil {
		t.Error("a word was parsed as a child")
	}
}

func TestSlurpGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	want := slices.Repeat([]byte("0123456789abcdef"), 40<<10)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := slurp(path, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}
