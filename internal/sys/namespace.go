//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Namespaces that [Enter] joins.
const (
	NewNet   = unix.CLONE_NEWNET
	NewMount = unix.CLONE_NEWNS
)

// Enter moves the calling thread into namespaces of process pid. The thread
// must be locked to its goroutine and never be given back to the runtime.
func Enter(pid, spaces int) error {
	if spaces&NewMount != 0 {
		// setns refuses a thread that shares its root and working directory.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
	}
	pidfd, err := PidfdOpen(pid)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return os.NewSyscallError("setns", unix.Setns(int(pidfd), spaces))
}
