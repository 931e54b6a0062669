//go:build linux

package sys

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LandlockRuleset makes a ruleset that lets who is restricted by it come to
// files below the directories, in every way, and to no others: landlock(7). It
// returns [ErrNotSupported] where the kernel has no Landlock.
func LandlockRuleset(dirs ...FD) (FD, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return -1, ErrNotSupported
	}
	// Rights that a version has added to the first one's.
	rights := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1)
	for i, r := range []uint64{unix.LANDLOCK_ACCESS_FS_REFER, unix.LANDLOCK_ACCESS_FS_TRUNCATE, 0, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV} {
		if int(version) >= i+2 {
			rights |= r
		}
	}
	attr := struct{ fs uint64 }{rights} // struct landlock_ruleset_attr of version 1
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	ruleset := FD(n)
	for _, dir := range dirs {
		var rule [12]byte // struct landlock_path_beneath_attr is packed
		*(*uint64)(unsafe.Pointer(&rule[0])) = rights
		*(*int32)(unsafe.Pointer(&rule[8])) = int32(dir)
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
			uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return -1, errors.Join(os.NewSyscallError("landlock_add_rule", errno), ruleset.Close())
		}
	}
	return ruleset, nil
}
