//go:build linux

package tracee

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/sys"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name   string
		status uint32
		want   Stop
	}{
		{"exit 3", 3 << 8, Stop{Kind: StopExited, Code: 3}},
		{"killed", uint32(syscall.SIGKILL), Stop{Kind: StopExited, Signal: syscall.SIGKILL}},
		{"interrupt", eventStop<<16 | uint32(syscall.SIGTRAP)<<8 | 0x7f, Stop{Kind: StopInterrupt}},
		{"group stop", eventStop<<16 | uint32(syscall.SIGSTOP)<<8 | 0x7f, Stop{Kind: StopGroup, Signal: syscall.SIGSTOP}},
		{"clone", syscall.PTRACE_EVENT_CLONE<<16 | uint32(syscall.SIGTRAP)<<8 | 0x7f, Stop{Kind: StopEvent, Event: syscall.PTRACE_EVENT_CLONE}},
		{"system call", (uint32(syscall.SIGTRAP)|0x80)<<8 | 0x7f, Stop{Kind: StopSyscall}},
		{"signal", uint32(syscall.SIGUSR1)<<8 | 0x7f, Stop{Kind: StopSignal, Signal: syscall.SIGUSR1}},
		{"a trap of its own", uint32(syscall.SIGTRAP)<<8 | 0x7f, Stop{Kind: StopSignal, Signal: syscall.SIGTRAP}},
	} {
		got, err := classify(syscall.WaitStatus(c.status))
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	if _, err := classify(0xffff); err == nil { // continued
		t.Error("a continued child was taken for a stop")
	}
}

func TestRestarted(t *testing.T) {
	const call, ip = 202, 0x1000 // futex
	for _, c := range []struct {
		name      string
		orig, rax int64
		wantIP    uint64
		wantRax   int64
	}{
		{"in user code", -1, 7, ip, 7},
		{"finished call", call, 5, ip, 5},
		{"failed call", call, -int64(syscall.EAGAIN), ip, -int64(syscall.EAGAIN)},
		{"interrupted for good", call, -int64(syscall.EINTR), ip, -int64(syscall.EINTR)},
		{"restart", call, restartSys, ip - 2, call},
		{"restart without handler", call, restartNohand, ip - 2, call},
		{"restart always", call, restartNointr, ip - 2, call},
		{"restart with a block", call, restartRestartblock, ip - 2, call},
	} {
		got := Restarted(sys.Regs{Orig_rax: uint64(c.orig), Rax: uint64(c.rax), Rip: ip})
		if got.Rip != c.wantIP || int64(got.Rax) != c.wantRax || int64(got.Orig_rax) != -1 {
			t.Errorf("%s: rip %#x rax %d orig_rax %d", c.name, got.Rip, int64(got.Rax), int64(got.Orig_rax))
		}
	}
}

func TestSigframe(t *testing.T) {
	xstate := make([]byte, 832)
	binary.LittleEndian.PutUint64(xstate[swBytes:], 0x207)
	const at, restorer, mask = 0x50494c4f0000, 0x401000, 0xfff
	b := sigframe(at, restorer, sys.Regs{R8: 1, Rip: 2, Eflags: 3, Cs: 0x33, Ss: 0x2b, Orig_rax: ^uint64(0)}, xstate, mask)
	le := binary.LittleEndian
	for _, c := range []struct {
		name string
		at   int
		want uint64
	}{
		{"pretcode", 0, restorer}, {"flags", 8, 7}, {"r8", 48, 1}, {"rip", 48 + 16*8, 2}, {"eflags", 48 + 17*8, 3},
		{"sigmask", 304, mask}, {"fpstate", 232, at + frameXState},
		{"software bytes", frameXState + swBytes, uint64(len(xstate)+4)<<32 | xstateMagic1},
		{"features", frameXState + swBytes + 8, 0x207},
	} {
		if got := le.Uint64(b[c.at:]); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if got := le.Uint32(b[len(b)-4:]); got != xstateMagic2 {
		t.Errorf("last magic %#x", got)
	}
	if (at+frameXState)%64 != 0 {
		t.Error("the processor state is not aligned")
	}
	if len(b) > frameSize {
		t.Error("the frame outgrows its slot")
	}
	if b := sigframe(at, restorer, sys.Regs{}, nil, 0); le.Uint64(b[frameFlags:])&1 != 0 || len(b) != frameXState {
		t.Error("a frame without processor state announces one")
	}
}

func TestCallRegs(t *testing.T) {
	r := callRegs(sys.Regs{Eflags: 0x100 | 0x400 | 2, Rbx: 9}, 0x10, 0x20, Sys(5, 1, 2, 3, 4, 5, 6))
	want := sys.Regs{Rip: 0x10, Rsp: 0x20, Rax: 5, Orig_rax: ^uint64(0), Rdi: 1, Rsi: 2, Rdx: 3, R10: 4, R8: 5, R9: 6, Eflags: 2, Rbx: 9}
	if r != want {
		t.Errorf("got %+v", r)
	}
}

func TestCallErr(t *testing.T) {
	for ret, want := range map[int64]error{0: nil, 1 << 40: nil, -4096: nil, -1: syscall.EPERM, -4095: syscall.Errno(4095)} {
		if got := (Call{Ret: ret}).Err(); got != want {
			t.Errorf("result %d: %v, want %v", ret, got, want)
		}
	}
}
