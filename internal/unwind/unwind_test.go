//go:build linux

package unwind

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:noinline
func outer(tids chan<- int, fd int) byte { return inner(tids, fd) + 1 }

//go:noinline
func inner(tids chan<- int, fd int) byte {
	var b [1]byte
	tids <- unix.Gettid()
	_, _ = unix.Read(fd, b[:])
	return b[0] + 1
}

// waiting calls look until what it says holds: a thread that was told of is soon
// in the kernel.
func waiting(t *testing.T, tid int, complete func(frames []string) bool) {
	t.Helper()
	var names Names
	var frames []string
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if frames, err = Stack(tid, &names); err == nil && complete(frames) {
			return
		}
	}
	t.Fatalf("stack is %q, %v", frames, err)
}

func index(frames []string, part string) int {
	return slices.IndexFunc(frames, func(f string) bool { return strings.Contains(f, part) })
}

func TestStackOfGo(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	tids, done := make(chan int), make(chan byte)
	go func() {
		runtime.LockOSThread()
		done <- outer(tids, p[0])
	}()
	tid := <-tids
	waiting(t, tid, func(f []string) bool {
		in, out := index(f, "unwind.inner ("), index(f, "unwind.outer (unwind_test.go:")
		return index(f, "unix.read") > 0 && in > 0 && out == in+1 && index(f, "TestStackOfGo.func1") == out+1
	})
	if _, err := unix.Write(p[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	<-done
}

// TestStackOfC looks at a program with frame pointers and symbols of its own.
func TestStackOfC(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	source := `#include <unistd.h>
__attribute__((noinline)) int innermost(char *b) { return read(0, b, 1) + 1; }
__attribute__((noinline)) int middle(char *b) { return innermost(b) + 1; }
int main(void) { char b; return middle(&b) + 1; }
`
	path := filepath.Join(dir, "reader")
	if err := os.WriteFile(path+".c", []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o", path, path+".c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	waiting(t, cmd.Process.Pid, func(f []string) bool {
		i := index(f, "innermost (reader)")
		return i > 0 && index(f, "middle (reader)") == i+1 && index(f, "main (reader)") == i+2
	})
}

func TestNoCall(t *testing.T) {
	if _, err := Stack(1<<30, &Names{}); err == nil {
		t.Error("a thread that does not exist has a stack")
	}
}
