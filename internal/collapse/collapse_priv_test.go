//go:build linux

package collapse

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
	"golang.org/x/sys/unix"
)

const holderName = "pilot-collapse-holder"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == holderName {
		hold()
		return
	}
	testenv.Main(m)
}

const held = 8 * Size

// hold has memory in small pages: all of it whole, but for one page of the last
// huge one. It checks it when told to.
func hold() {
	mem, err := unix.Mmap(-1, 0, held+Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		os.Exit(3)
	}
	for i := 4096; i < len(mem); i += 4096 {
		mem[i] = byte(i >> 12)
	}
	_, _ = os.Stdout.Write([]byte{1})
	_, _ = os.Stdin.Read(make([]byte, 1))
	for i := 4096; i < len(mem); i += 4096 {
		if mem[i] != byte(i>>12) || mem[i+1] != 0 {
			os.Exit(2)
		}
	}
}

func TestPrivCollapse(t *testing.T) {
	testenv.Privileged(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{holderName}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	before := usage(t, cmd.Process.Pid)
	at, err := Candidates(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	o, err := Do(context.Background(), cmd.Process.Pid, at)
	if errors.Is(err, ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil || o.Pages < held/Size-1 || o.Failed > 0 {
		t.Errorf("%d candidates: %+v, %v", len(at), o, err)
	}
	after := usage(t, cmd.Process.Pid)
	if grown := after.AnonHugePages - before.AnonHugePages; grown < uint64(held-Size) {
		t.Errorf("huge pages grew by %d KiB", grown>>10)
	}
	if after.Rss > before.Rss+256<<10 {
		t.Errorf("memory grew from %d to %d KiB", before.Rss>>10, after.Rss>>10)
	}
	if again, err := Candidates(cmd.Process.Pid); err != nil || len(again) >= len(at) {
		t.Errorf("there are still %d of %d candidates, %v", len(again), len(at), err)
	}
	if _, err := in.Write(bytes.Repeat([]byte{1}, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the memory is another: %v", err)
	}
}

func usage(t *testing.T, pid int) (sum procfs.Usage) {
	t.Helper()
	vmas, err := procfs.Smaps(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vmas {
		sum.Rss += v.Rss
		sum.AnonHugePages += v.AnonHugePages
	}
	return sum
}
