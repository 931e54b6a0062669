//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// PeerUser is the user who connected a unix socket, unix(7), SO_PEERCRED.
func PeerUser(fd FD) (uid int, err error) {
	cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt so_peercred", err)
	}
	return int(cred.Uid), nil
}
