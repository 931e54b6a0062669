//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// WaitRCU returns when every section of the kernel that runs under RCU now has
// ended, programs at tracepoints among them: MEMBARRIER_CMD_GLOBAL of membarrier(2)
// is synchronize_rcu, kernel/sched/membarrier.c. It takes some milliseconds.
func WaitRCU() error {
	const global = 1 << 0 // include/uapi/linux/membarrier.h
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("membarrier", errno)
	}
	return nil
}
