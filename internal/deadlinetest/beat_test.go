//go:build linux

package deadlinetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// A victim is a running testdata/victim.c.
type victim struct {
	mode string
	dir  string
	pid  int
	cmd  *exec.Cmd
	mem  []byte // struct beat
}

// The fields of struct beat.
func (v *victim) field(i int) uint64 { return binary.NativeEndian.Uint64(v.mem[8*i:]) }

func (v *victim) count() uint64        { return v.field(0) }
func (v *victim) worst() time.Duration { return time.Duration(v.field(2)) }
func (v *victim) ready() uint64        { return v.field(4) }
func (v *victim) work() uint64         { return v.field(5) }
func (v *victim) generation() uint64   { return v.field(7) }

// silent is how long ago the victim's heart beat last.
func (v *victim) silent() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano() - int64(v.field(1)))
}

// bad tells what the victim found wrong, or "".
func (v *victim) bad() string {
	if v.field(6) == 0 {
		return ""
	}
	why, _, _ := bytes.Cut(v.mem[64:], []byte{0})
	return fmt.Sprintf("%d defects, first: %s", v.field(6), why)
}

// reset begins a new measurement.
func (v *victim) reset(t *testing.T) {
	t.Helper()
	binary.NativeEndian.PutUint64(v.mem[24:], 1)
	waitFor(t, v.mode+" beats", func() bool { return v.field(3) == 0 })
}

func (v *victim) member() model.Member {
	return model.Member{Name: fmt.Sprintf("%s-%d", v.mode, v.pid), PID: v.pid, Data: []string{v.dir}}
}

// program compiles the victim once.
func program(t *testing.T, s *scene) string {
	t.Helper()
	path := filepath.Join(s.dir, "victim")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	out, err := exec.Command("cc", "-O2", "-Wall", "-Werror", "-pthread", "-o", path, "testdata/victim.c").CombinedOutput()
	if err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return path
}

// start runs a victim and waits until it is ready as far as want says.
func (s *scene) start(t *testing.T, want uint64, mode string, args ...any) *victim {
	t.Helper()
	v := &victim{mode: mode, dir: filepath.Join(s.dir, "m"+strconv.Itoa(s.made))}
	s.made++
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	beat := filepath.Join(v.dir, "beat")
	f, err := os.Create(beat)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if v.mem, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	argv := []string{beat, mode}
	for _, a := range args {
		argv = append(argv, fmt.Sprint(a))
	}
	v.cmd = exec.Command(program(t, s), argv...)
	v.cmd.Stderr = os.Stderr
	if err := s.space.Do(v.cmd.Start); err != nil {
		t.Fatal(err)
	}
	v.pid = v.cmd.Process.Pid
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
	})
	waitFor(t, mode+" is ready", func() bool { return v.ready() >= want && v.count() > 0 })
	s.victims = append(s.victims, v)
	return v
}

// unharmed wants a victim to live, untraced, at work and without a defect.
func (v *victim) unharmed(t *testing.T) {
	t.Helper()
	if err := unix.Kill(v.pid, 0); err != nil {
		t.Fatalf("%s is gone", v.mode)
	}
	waitFor(t, v.mode+" is let go", func() bool { return procfs.Tracer(v.pid) == 0 })
	at, work := v.count(), v.work()
	waitFor(t, v.mode+" goes on", func() bool { return v.count() > at+5 })
	if work > 0 {
		waitFor(t, v.mode+" works on", func() bool { return v.work() > work })
	}
	if bad := v.bad(); bad != "" {
		t.Errorf("%s: %s", v.mode, bad)
	}
	if ws, ok := v.status(t); ok {
		t.Errorf("%s: its parent sees wait status %#x", v.mode, uint32(ws))
	}
}

// clean wants nothing of the agent to be left in an unharmed victim that has no
// children of its own.
func (v *victim) clean(t *testing.T) {
	t.Helper()
	v.unharmed(t)
	if children, err := procfs.Children(v.pid); err != nil || len(children) > 0 {
		t.Errorf("%s: children %v left behind (%v)", v.mode, children, err)
	}
	vmas, err := procfs.Maps(v.pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range vmas {
		if m.Start>>28 == uint64(tracee.ArenaHint)>>28 {
			t.Errorf("%s: mapping %#x left behind", v.mode, m.Start)
		}
	}
}

// status returns a change of state that the victim's parent, which is the test,
// has not heard of yet.
func (v *victim) status(t *testing.T) (ws syscall.WaitStatus, ok bool) {
	t.Helper()
	pid, err := syscall.Wait4(v.pid, &ws, syscall.WNOHANG|syscall.WUNTRACED|syscall.WCONTINUED, nil)
	if err != nil {
		t.Fatalf("wait for %s: %v", v.mode, err)
	}
	return ws, pid != 0
}

// waitFor waits until done, or fails the test.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
