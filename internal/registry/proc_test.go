package registry

import (
	"os"
	"os/exec"
	"testing"
)

func TestParseStartTime(t *testing.T) {
	const rest = " S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2"
	for _, tt := range []struct {
		stat string
		want uint64
		ok   bool
	}{
		{"12 (etcd)" + rest, 987654, true},
		{"12 (a) b) S 1 (c)" + rest, 987654, true},
		{"12 (etcd) S 1", 0, false},
		{"", 0, false},
		{"12 (x) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 many 1", 0, false},
	} {
		got, err := parseStartTime(tt.stat)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %d, %v", tt.stat, got, err)
		}
	}
}

func FuzzParseStartTime(f *testing.F) {
	f.Add("12 (etcd) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2")
	f.Fuzz(func(_ *testing.T, stat string) { _, _ = parseStartTime(stat) })
}

func TestStartTimeOfRealProcesses(t *testing.T) {
	if n, err := StartTime(os.Getpid()); err != nil || n == 0 {
		t.Errorf("self: %d, %v", n, err)
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Skip(err)
	}
	if _, err := StartTime(dead.Process.Pid); err == nil {
		t.Error("a process that was reaped has a start time")
	}
}

func TestMountPoint(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw", "/mnt/a b"},
		{"36 35", ""},
	} {
		if got := mountPoint(tt.line); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if points, err := mountsBelow("/proc"); err != nil || len(points) == 0 {
		t.Errorf("/proc is not mounted: %v, %v", points, err)
	}
	if points, err := mountsBelow(t.TempDir()); err != nil || len(points) > 0 {
		t.Errorf("a plain directory: %v, %v", points, err)
	}
}
