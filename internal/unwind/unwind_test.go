//go:build linux

package unwind

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
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

// TestLeftFrames has a longer chain of frames from an earlier call below the true
// one. Only of the true one the innermost frame calls the function that waits.
func TestLeftFrames(t *testing.T) {
	const text, base = 0x400000, 0x7000
	code := make([]byte, 0x1000)
	call := func(ret, target uint64) { // ret is where it returns to
		code[ret-text-5] = 0xe8
		binary.LittleEndian.PutUint32(code[ret-text-4:], uint32(target-ret))
	}
	const waits, other = text + 0x100, text + 0x800 // functions
	for i, ret := range []uint64{text + 0x210, text + 0x220} {
		call(ret, waits+uint64(i)*0x200)
	}
	for ret := uint64(text + 0x900); ret < text+0x950; ret += 0x10 {
		call(ret, other)
	}
	words := make([]uint64, 64)
	frame := func(at, next int, ret uint64) {
		words[at], words[at+1] = 0, ret
		if next > 0 {
			words[at] = base + 8*uint64(next)
		}
	}
	for i := range 5 {
		frame(2+3*i, 5+3*i, text+0x900+uint64(i)*0x10)
	}
	words[14] = 0
	frame(20, 30, text+0x210)
	frame(30, 0, text+0x220)
	s := stack{base: base, vmas: []procfs.VMA{{Start: text, End: text + 0x1000, Exec: true}}}
	for _, w := range words {
		s.bytes = binary.LittleEndian.AppendUint64(s.bytes, w)
	}
	s.code = func(addr uint64, buf []byte) bool { return copy(buf, code[addr-text:]) == len(buf) }
	s.entry = func(addr uint64) (uint64, bool) { return waits, addr == waits+0x20 }
	if got, want := s.frames(waits+0x20), []uint64{waits + 0x20, text + 0x210, text + 0x220}; !slices.Equal(got, want) {
		t.Errorf("%#x, want %#x", got, want)
	}
	s.entry = func(uint64) (uint64, bool) { return 0, false }
	if got := s.frames(waits + 0x20); len(got) != 6 {
		t.Errorf("without names: %#x", got)
	}
}
