//go:build linux

package sys

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OptSuspendSeccomp keeps the seccomp filters of a tracee from acting while it
// is traced. It needs CAP_SYS_ADMIN, and a tracer without filters of its own.
const OptSuspendSeccomp = unix.PTRACE_O_SUSPEND_SECCOMP

// SeccompFilter returns filter number n of a stopped tracee, an array of struct
// sock_filter, or nothing when it has no more. See ptrace(2),
// PTRACE_SECCOMP_GET_FILTER. It needs CAP_SYS_ADMIN, and a tracer without
// filters of its own.
func SeccompFilter(tid, n int) ([]byte, error) {
	const name, instruction = "ptrace seccomp_get_filter", 8
	length, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(tid), uintptr(n), 0, 0, 0)
	switch {
	case errors.Is(errno, unix.ENOENT), errors.Is(errno, unix.EINVAL): // no such number; no filters at all
		return nil, nil
	case errno != 0:
		return nil, os.NewSyscallError(name, errno)
	}
	buf := make([]byte, length*instruction)
	if len(buf) == 0 {
		return nil, os.NewSyscallError(name, unix.EIO)
	}
	_, _, errno = unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(tid), uintptr(n),
		uintptr(unsafe.Pointer(&buf[0])), 0, 0)
	if errno != 0 {
		return nil, os.NewSyscallError(name, errno)
	}
	return buf, nil
}
