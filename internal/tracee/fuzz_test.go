//go:build linux

package tracee

import (
	"bytes"
	"encoding/binary"
	"slices"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// FuzzClassify wants every wait status to be decoded in the one way that the
// macros of wait(2) allow.
func FuzzClassify(f *testing.F) {
	for _, status := range []uint32{0, 3 << 8, 9, 0xffff, 0x137f, 0x857f, 0x80057f, 0x80137f, 0x3057f, 0x0b | 0x80} {
		f.Add(status)
	}
	f.Fuzz(func(t *testing.T, status uint32) {
		ws := syscall.WaitStatus(status)
		stop, err := classify(ws)
		ended := ws.Exited() || ws.Signaled()
		switch {
		case err != nil:
			if ended || ws.Stopped() {
				t.Errorf("%#x: %v", status, err)
			}
		case ended != (stop.Kind == StopExited):
			t.Errorf("%#x is %+v", status, stop)
		case stop.Kind == StopEvent && stop.Event != int(status>>16):
			t.Errorf("%#x is event %d", status, stop.Event)
		case stop.Kind == StopSignal && stop.Signal != ws.StopSignal():
			t.Errorf("%#x is %v", status, stop.Signal)
		}
	})
}

// registers makes registers of any bytes.
func registers(b []byte) (r sys.Regs) {
	buf := make([]byte, binary.Size(r))
	copy(buf, b)
	_ = binary.Read(bytes.NewReader(buf), binary.LittleEndian, &r)
	return r
}

// FuzzSigframe reads back what sigreturn would.
func FuzzSigframe(f *testing.F) {
	f.Add(uint64(0x50494c4f0000), uint64(0x401000), make([]byte, 216), 832, uint64(0xfff))
	f.Add(uint64(0x50494c4f0000), uint64(0x401000), bytes.Repeat([]byte{0xff}, 216), 0, uint64(0))
	f.Add(uint64(0), uint64(0), bytes.Repeat([]byte{0xfe, 0xff}, 108), 11008, ^uint64(0))
	f.Fuzz(func(t *testing.T, at, restorer uint64, raw []byte, size int, mask uint64) {
		if size != 0 && (size < minXState || size > frameSize-frameXState-4) {
			t.Skip("no processor has such a state")
		}
		regs := registers(raw)
		xstate := bytes.Repeat([]byte{0xa5}, size)
		kept := slices.Clone(xstate)
		b := sigframe(Addr(at), Addr(restorer), regs, xstate, mask)
		le := binary.LittleEndian
		want := Restarted(regs)
		if le.Uint64(b) != restorer || le.Uint64(b[frameSigmask:]) != mask || le.Uint64(b[frameContext+8*16:]) != want.Rip ||
			le.Uint64(b[frameContext+8*13:]) != want.Rax || le.Uint64(b[frameContext+8*15:]) != regs.Rsp {
			t.Errorf("frame of %+v does not lead back", regs)
		}
		if !bytes.Equal(xstate, kept) {
			t.Error("the state was changed")
		}
		if len(b) > frameSize {
			t.Errorf("frame of %d bytes", len(b))
		}
		if size > 0 && (le.Uint64(b[frameFpstate:]) != at+frameXState || len(b) != frameXState+size+4 ||
			le.Uint32(b[frameXState+swBytes+16:]) != uint32(size)) {
			t.Errorf("the state of %d bytes is not announced", size)
		}
	})
}

// FuzzRestarted wants a call that was cut short to be made again, and all else
// to be left as it is.
func FuzzRestarted(f *testing.F) {
	f.Add(int64(202), int64(restartSys), uint64(0x1000))
	f.Add(int64(-1), int64(restartRestartblock), uint64(0x1000))
	f.Add(int64(0), int64(-513), uint64(0))
	f.Fuzz(func(t *testing.T, call, result int64, ip uint64) {
		r := sys.Regs{Orig_rax: uint64(call), Rax: uint64(result), Rip: ip}
		got := Restarted(r)
		if again := Restarted(got); again != got {
			t.Error("it is restarted twice")
		}
		if want := (sys.Regs{Orig_rax: ^uint64(0), Rax: uint64(call), Rip: ip - 2}); interrupted(&r) && got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if want := (sys.Regs{Orig_rax: ^uint64(0), Rax: uint64(result), Rip: ip}); !interrupted(&r) && got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// FuzzArenas wants an arena to be found free only where nothing is mapped.
func FuzzArenas(f *testing.F) {
	f.Add(uint64(ArenaHint), uint64(ArenaHint+ArenaSize), true)
	f.Add(uint64(ArenaHint-4096), uint64(ArenaHint), false)
	f.Fuzz(func(t *testing.T, start, end uint64, private bool) {
		if start >= end {
			t.Skip("no such mapping")
		}
		vmas := []procfs.VMA{{Start: start, End: end, Read: true, Write: true, Shared: !private}}
		overlaps := start < uint64(ArenaHint+ArenaSize) && end > uint64(ArenaHint)
		if free(vmas, ArenaHint, ArenaSize) == overlaps {
			t.Errorf("%#x-%#x: free %v", start, end, !overlaps)
		}
		if ours(vmas, ArenaHint) && (start != uint64(ArenaHint) || end-start != ArenaSize || !private) {
			t.Errorf("%#x-%#x is taken for an arena", start, end)
		}
	})
}
