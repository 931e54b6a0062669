//go:build linux

package sys

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Regs are the general registers of a thread, as PTRACE_GETREGS lays them out.
type Regs = unix.PtraceRegs

// Ptrace requests that x/sys does not name on every architecture
// (include/uapi/linux/ptrace.h).
const (
	ptraceGetSigmask = 0x420a
	ptraceSetSigmask = 0x420b
	ptraceGetRseq    = 0x420f

	// NTX86XState is the register set of the extended processor state
	// (include/uapi/linux/elf.h).
	NTX86XState = 0x202
)

// Ptrace options and events used on tracees, as in ptrace(2).
const (
	OptSysGood  = unix.PTRACE_O_TRACESYSGOOD
	OptFork     = unix.PTRACE_O_TRACEFORK
	OptVfork    = unix.PTRACE_O_TRACEVFORK
	OptClone    = unix.PTRACE_O_TRACECLONE
	OptExec     = unix.PTRACE_O_TRACEEXEC
	OptExit     = unix.PTRACE_O_TRACEEXIT
	OptExitKill = unix.PTRACE_O_EXITKILL
)

func ptrace(name string, req, tid int, addr, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}

// Seize makes the calling thread the tracer of tid without stopping it. While
// tid's process is in execve(2) it blocks. That must not hold up Go's runtime:
// it may be another goroutine that the execve waits for.
func Seize(tid, options int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, uintptr(options), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("ptrace seize", errno)
	}
	return nil
}

// SetOptions replaces the ptrace options of a stopped tracee.
func SetOptions(tid, options int) error {
	return ptrace("ptrace setoptions", unix.PTRACE_SETOPTIONS, tid, 0, uintptr(options))
}

// Interrupt asks a seized tracee to stop. Wait for the stop with [Wait].
func Interrupt(tid int) error {
	return ptrace("ptrace interrupt", unix.PTRACE_INTERRUPT, tid, 0, 0)
}

// Cont lets a stopped tracee run and delivers sig unless it is 0.
func Cont(tid int, sig unix.Signal) error {
	return ptrace("ptrace cont", unix.PTRACE_CONT, tid, 0, uintptr(sig))
}

// ContSyscall lets a stopped tracee run to the next entry or exit of a system call.
func ContSyscall(tid int) error {
	return ptrace("ptrace syscall", unix.PTRACE_SYSCALL, tid, 0, 0)
}

// Detach lets a stopped tracee go and delivers sig unless it is 0.
func Detach(tid int, sig unix.Signal) error {
	return ptrace("ptrace detach", unix.PTRACE_DETACH, tid, 0, uintptr(sig))
}

// GetRegs reads the general registers of a stopped tracee.
func GetRegs(tid int, r *Regs) error {
	return ptrace("ptrace getregs", unix.PTRACE_GETREGS, tid, 0, uintptr(unsafe.Pointer(r)))
}

// SetRegs writes the general registers of a stopped tracee.
func SetRegs(tid int, r *Regs) error {
	return ptrace("ptrace setregs", unix.PTRACE_SETREGS, tid, 0, uintptr(unsafe.Pointer(r)))
}

// GetRegSet reads register set nt into buf and returns its length in bytes.
func GetRegSet(tid int, nt uintptr, buf []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(buf)}
	iov.SetLen(len(buf))
	err := ptrace("ptrace getregset", unix.PTRACE_GETREGSET, tid, nt, uintptr(unsafe.Pointer(&iov)))
	return int(iov.Len), err
}

// SetRegSet writes register set nt.
func SetRegSet(tid int, nt uintptr, buf []byte) error {
	iov := unix.Iovec{Base: unsafe.SliceData(buf)}
	iov.SetLen(len(buf))
	return ptrace("ptrace setregset", unix.PTRACE_SETREGSET, tid, nt, uintptr(unsafe.Pointer(&iov)))
}

// GetSigmask reads the mask of blocked signals of a stopped tracee.
func GetSigmask(tid int) (mask uint64, err error) {
	err = ptrace("ptrace getsigmask", ptraceGetSigmask, tid, 8, uintptr(unsafe.Pointer(&mask)))
	return mask, err
}

// SetSigmask replaces the mask of blocked signals of a stopped tracee.
func SetSigmask(tid int, mask uint64) error {
	return ptrace("ptrace setsigmask", ptraceSetSigmask, tid, 8, uintptr(unsafe.Pointer(&mask)))
}

// EventMsg returns the message of the last ptrace event stop, such as the pid
// of a new child.
func EventMsg(tid int) (msg uint64, err error) {
	err = ptrace("ptrace geteventmsg", unix.PTRACE_GETEVENTMSG, tid, 0, uintptr(unsafe.Pointer(&msg)))
	return msg, err
}

// Rseq is a thread's registration for restartable sequences, rseq(2).
type Rseq struct {
	Addr      uint64
	Size      uint32
	Signature uint32
	Flags     uint32
	_         uint32
}

// GetRseq reads the rseq registration of a stopped tracee. Addr is 0 when there is none.
func GetRseq(tid int) (r Rseq, err error) {
	err = ptrace("ptrace get_rseq_configuration", ptraceGetRseq, tid, unsafe.Sizeof(r), uintptr(unsafe.Pointer(&r)))
	return r, err
}

// SigInfo is a raw siginfo_t.
type SigInfo [128]byte

// Signo is the number of the signal.
func (s *SigInfo) Signo() int { return int(*(*int32)(unsafe.Pointer(s))) }

// PeekSigInfo copies the signals pending for a stopped tracee, or for its whole
// process when shared is set, without taking them away.
func PeekSigInfo(tid int, shared bool) ([]SigInfo, error) {
	var out []SigInfo
	for {
		var buf [8]SigInfo
		args := struct {
			off   uint64
			flags uint32
			nr    int32
		}{off: uint64(len(out)), nr: int32(len(buf))}
		if shared {
			args.flags = 1 // PTRACE_PEEKSIGINFO_SHARED
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(tid),
			uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&buf)), 0, 0)
		if errno != 0 {
			return out, os.NewSyscallError("ptrace peeksiginfo", errno)
		}
		if n == 0 {
			return out, nil
		}
		out = append(out, buf[:n]...)
	}
}

// TryWait reports a change of state of tid without blocking; tid 0 in the
// result means that there is none yet.
func TryWait(tid int) (got int, ws syscall.WaitStatus, err error) {
	for {
		got, err = syscall.Wait4(tid, &ws, unix.WALL|unix.WNOHANG, nil)
		if err != syscall.EINTR {
			return got, ws, os.NewSyscallError("wait4", err)
		}
	}
}

// PeekWait is TryWait, but leaves the change of state to be reported again. A
// stop that was not taken from the kernel keeps its signal: should the tracer
// die, the tracee gets it.
func PeekWait(tid int) (got int, ws syscall.WaitStatus, err error) {
	var info struct { // siginfo_t of SIGCHLD, sigaction(2)
		signo, errno, code, _ int32
		pid, uid, status      int32
		_                     [100]byte
	}
	const options = unix.WEXITED | unix.WSTOPPED | unix.WNOWAIT | unix.WNOHANG | unix.WALL
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid), uintptr(unsafe.Pointer(&info)), options, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, 0, os.NewSyscallError("waitid", errno)
		}
		break
	}
	const exited, killed, dumped = 1, 2, 3 // CLD_EXITED and on, include/uapi/asm-generic/siginfo.h
	switch info.code {
	case exited:
		ws = syscall.WaitStatus(info.status << 8)
	case killed, dumped:
		ws = syscall.WaitStatus(info.status)
	default:
		ws = syscall.WaitStatus(info.status<<8 | 0x7f)
	}
	if info.pid == 0 {
		ws = 0
	}
	return int(info.pid), ws, nil
}

// WaitStop is TryWait for one tracee. A stop before a signal is not taken: see
// PeekWait. It ends, like any stop, when the tracee is let run.
func WaitStop(tid int) (got int, ws syscall.WaitStatus, err error) {
	got, ws, err = PeekWait(tid)
	if err != nil || got == 0 {
		return got, ws, err
	}
	signal := ws.Stopped() && int(ws)>>16 == 0 && ws.StopSignal() != syscall.SIGTRAP|0x80
	if signal {
		return got, ws, nil
	}
	return TryWait(tid)
}

// Dead reports whether tid has ended and was not waited for. It takes nothing
// away, see waitid(2), WNOWAIT. The error is ECHILD for what is no child or
// tracee of this process.
func Dead(tid int) (bool, error) {
	const exited, killed, dumped = 1, 2, 3 // CLD_*, include/uapi/asm-generic/siginfo.h
	for {
		var info SigInfo
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid), uintptr(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			code := *(*int32)(unsafe.Pointer(&info[8]))
			return info.Signo() != 0 && (code == exited || code == killed || code == dumped), nil
		}
		return false, os.NewSyscallError("waitid", errno)
	}
}

// Listen leaves a tracee in its job-control stop, until SIGCONT wakes it.
func Listen(tid int) error {
	return ptrace("ptrace listen", unix.PTRACE_LISTEN, tid, 0, 0)
}
