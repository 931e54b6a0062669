//go:build linux

package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// DropCaps removes the capabilities from the calling thread's sets, the
// bounding set included. Children inherit that. See capabilities(7).
func DropCaps(drop []int) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for _, c := range drop {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // unknown to this kernel
			return os.NewSyscallError("prctl capbset_drop", err)
		}
		bit := uint32(1) << (c % 32)
		data[c/32].Effective &^= bit
		data[c/32].Permitted &^= bit
		data[c/32].Inheritable &^= bit
	}
	return os.NewSyscallError("capset", unix.Capset(&hdr, &data[0]))
}
