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

// ActAs changes the effective user of the calling thread alone, and keeps the
// thread's capabilities. The thread must be locked to its goroutine and never
// be given back to the runtime. It must be root.
func ActAs(uid int) error {
	if os.Geteuid() == uid {
		return nil
	}
	// Not the wrapper of x/sys, which changes all threads. The real and the
	// saved user stay root: so the permitted capabilities stay, and only the
	// effective ones must be raised again. See capabilities(7).
	const same = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	// The kernel makes the whole process undumpable for it.
	return os.NewSyscallError("prctl set_dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
}
