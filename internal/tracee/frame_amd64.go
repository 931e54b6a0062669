//go:build linux

package tracee

import (
	"encoding/binary"
	"slices"

	"github.com/pilotexec/pilot/internal/sys"
)

// Offsets in struct rt_sigframe (arch/x86/include/asm/sigframe.h) and the
// structs inside it (arch/x86/include/uapi/asm/{ucontext,sigcontext}.h).
const (
	frameFlags   = 8   // ucontext.uc_flags
	frameStackFl = 32  // uc_stack.ss_flags
	frameContext = 48  // sigcontext: 18 registers
	frameSegs    = 192 // cs, gs, fs, ss
	frameFpstate = 232 // pointer to the xstate
	frameSigmask = 304
	frameXState  = 448 // first 64-byte boundary behind ucontext and siginfo head

	// frameSize bounds a frame with the largest xstate known (AMX: 11 KiB).
	frameSize = 16 << 10

	// minXState is the legacy area and the header of the extended state.
	minXState    = 512 + 64
	swBytes      = 464        // fpx_sw_bytes inside the legacy area
	xstateMagic1 = 0x46505853 // FP_XSTATE_MAGIC1
	xstateMagic2 = 0x46505845 // FP_XSTATE_MAGIC2

	sysRtSigreturn = 15
)

// Kernel-internal restart codes, visible only to tracers (include/linux/errno.h).
const (
	restartSys          = -512
	restartNointr       = -513
	restartNohand       = -514
	restartRestartblock = -516

	sysRestartSyscall = 219
)

// interrupted reports whether r shows a system call that a stop has cut short
// and that the kernel would restart.
func interrupted(r *sys.Regs) bool {
	if int64(r.Orig_rax) < 0 {
		return false
	}
	switch int64(r.Rax) {
	case restartSys, restartNointr, restartNohand, restartRestartblock:
		return true
	}
	return false
}

// Restarted returns r as it is when the interrupted call is about to be made
// again, by a thread that lacks the kernel's memory of it.
func Restarted(r sys.Regs) sys.Regs {
	if interrupted(&r) {
		r.Rax = r.Orig_rax
		r.Rip -= 2 // both "syscall" and "int $0x80" are two bytes long
	}
	r.Orig_rax = ^uint64(0)
	return r
}

// sigframe builds an rt_sigframe for address at: a thread whose stack pointer
// is at and that executes "ret" continues with regs, xstate and mask. Where
// xstate is empty the processor state is left as it is.
//
// The altstack is left alone because ss_flags is invalid, which makes
// sigreturn's restore_altstack fail without a consequence.
func sigframe(at Addr, restorer Addr, regs sys.Regs, xstate []byte, mask uint64) []byte {
	buf := make([]byte, frameXState, frameXState+len(xstate)+64)
	le := binary.LittleEndian
	le.PutUint64(buf, uint64(restorer))
	le.PutUint32(buf[frameStackFl:], 0x7fffffff)
	regs = Restarted(regs)
	for i, v := range []uint64{
		regs.R8, regs.R9, regs.R10, regs.R11, regs.R12, regs.R13, regs.R14, regs.R15,
		regs.Rdi, regs.Rsi, regs.Rbp, regs.Rbx, regs.Rdx, regs.Rax, regs.Rcx, regs.Rsp, regs.Rip, regs.Eflags,
	} {
		le.PutUint64(buf[frameContext+8*i:], v)
	}
	le.PutUint16(buf[frameSegs:], uint16(regs.Cs))
	le.PutUint16(buf[frameSegs+6:], uint16(regs.Ss))
	le.PutUint64(buf[frameSigmask:], mask)
	flags := uint64(4 | 2) // UC_STRICT_RESTORE_SS | UC_SIGCONTEXT_SS
	if len(xstate) > 0 {
		flags |= 1 // UC_FP_XSTATE
		le.PutUint64(buf[frameFpstate:], uint64(at)+frameXState)
		buf = append(buf, signalXState(xstate)...)
	}
	le.PutUint64(buf[frameFlags:], flags)
	return buf
}

// signalXState turns the bytes of the NT_X86_XSTATE register set into those
// of a signal frame: the software bytes say how long it is.
func signalXState(xstate []byte) []byte {
	le := binary.LittleEndian
	out := slices.Clone(xstate)
	features := le.Uint64(out[swBytes:])
	clear(out[swBytes:512])
	le.PutUint32(out[swBytes:], xstateMagic1)
	le.PutUint32(out[swBytes+4:], uint32(len(out)+4))
	le.PutUint64(out[swBytes+8:], features)
	le.PutUint32(out[swBytes+16:], uint32(len(out)))
	return le.AppendUint32(out, xstateMagic2)
}

// callRegs returns base set to make call at gadget with stack pointer sp.
// orig_rax -1 tells the kernel that nothing is to be restarted.
func callRegs(base sys.Regs, gadget, sp Addr, c Call) sys.Regs {
	base.Rip, base.Rsp = uint64(gadget), uint64(sp)
	base.Rax, base.Orig_rax = c.Nr, ^uint64(0)
	base.Rdi, base.Rsi, base.Rdx = c.Args[0], c.Args[1], c.Args[2]
	base.R10, base.R8, base.R9 = c.Args[3], c.Args[4], c.Args[5]
	base.Eflags &^= 0x100 | 0x400 // no single step, no backward strings
	return base
}

// stub is the code of a puppet's batch: it makes r12 calls described by the
// records at rbx (see batchRecord) and ends in a breakpoint.
var stub = []byte{
	0x48, 0x8b, 0x03, // loop: mov (%rbx),%rax
	0x48, 0x8b, 0x7b, 0x08, // mov 8(%rbx),%rdi
	0x48, 0x8b, 0x73, 0x10, // mov 16(%rbx),%rsi
	0x48, 0x8b, 0x53, 0x18, // mov 24(%rbx),%rdx
	0x4c, 0x8b, 0x53, 0x20, // mov 32(%rbx),%r10
	0x4c, 0x8b, 0x43, 0x28, // mov 40(%rbx),%r8
	0x4c, 0x8b, 0x4b, 0x30, // mov 48(%rbx),%r9
	0x0f, 0x05, // syscall
	0x48, 0x89, 0x43, 0x38, // mov %rax,56(%rbx)
	0x48, 0x83, 0xc3, 0x40, // add $64,%rbx
	0x49, 0xff, 0xcc, // dec %r12
	0x75, 0xd6, // jnz loop
	0xcc, // int3
}

const batchRecord = 64 // nr, six arguments, result
