//go:build linux

package victim

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LaunchName is how a test binary is executed again to become somebody else
// and then a victim.
const LaunchName = "pilot-victim-launch"

// An Identity is who a victim is. The zero value is root, as the test is.
type Identity struct {
	UID, GID int
	Groups   []int
	// NoCaps empties all sets but those given here.
	NoCaps             bool
	Ambient, Inherited []int
	Bounding           []int // dropped from the bounding set
	Securebits         int
	NoNewPrivs         bool
	Filter             []unix.SockFilter
	Hidden             bool // not dumpable
	// Apart gives it mounts, a network and a host name of its own. There is
	// nothing in its directory then but what it makes.
	Apart bool
	// First is set when it is number 1 of a container, and MountProc when nobody has
	// mounted the container's /proc yet.
	First, MountProc bool
}

// Launch becomes the [Identity] that os.Args[1] encodes and executes the victim
// of the rest.
func Launch() {
	runtime.LockOSThread() // credentials belong to threads; exec keeps the caller's
	var id Identity
	err := json.Unmarshal([]byte(os.Args[1]), &id)
	if err == nil && id.First {
		err = settle(id.MountProc)
	}
	if err == nil && id.Apart {
		err = become(os.Args[len(os.Args)-1], id)
	}
	if err == nil {
		err = id.become()
	}
	if err == nil {
		env := os.Environ()
		if id.Hidden {
			env = append(env, "PILOT_VICTIM_HIDDEN=1")
		}
		err = unix.Exec("/proc/self/exe", append([]string{Name}, os.Args[2:]...), env)
	}
	fmt.Fprintln(os.Stderr, "launch:", err)
	os.Exit(1)
}

// become leaves the test's namespaces. The victim's directory is on a file
// system that only it sees.
func become(dir string, id Identity) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// Shared with copies of it: what these mount would be seen here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	if err := unix.Mount("apart", dir, "tmpfs", 0, fmt.Sprintf("mode=700,uid=%d,gid=%d", id.UID, id.GID)); err != nil {
		return err
	}
	return unix.Sethostname([]byte("apart"))
}

func (id Identity) become() error {
	if id.UID != 0 {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return err
		}
		groups := make([]uint32, max(len(id.Groups), 1))
		for i, g := range id.Groups {
			groups[i] = uint32(g)
		}
		if err := raw(unix.SYS_SETGROUPS, uintptr(len(id.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); err != nil {
			return err
		}
		if err := raw(unix.SYS_SETRESGID, uintptr(id.GID), uintptr(id.GID), uintptr(id.GID)); err != nil {
			return err
		}
		if err := raw(unix.SYS_SETRESUID, uintptr(id.UID), uintptr(id.UID), uintptr(id.UID)); err != nil {
			return err
		}
	}
	if err := id.capabilities(); err != nil {
		return err
	}
	if id.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if len(id.Filter) > 0 {
		prog := unix.SockFprog{Len: uint16(len(id.Filter)), Filter: &id.Filter[0]}
		return raw(unix.SYS_SECCOMP, 1 /* SECCOMP_SET_MODE_FILTER */, 0, uintptr(unsafe.Pointer(&prog)))
	}
	return nil
}

func (id Identity) capabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	for i := range data {
		data[i].Effective = data[i].Permitted // as a change of the user has cleared them
	}
	for _, c := range append(id.Inherited, id.Ambient...) {
		data[c/32].Inheritable |= 1 << (c % 32)
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	for _, c := range id.Bounding {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return os.NewSyscallError("drop from bounding set", err)
		}
	}
	for _, c := range id.Ambient {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return os.NewSyscallError("raise ambient", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(id.Securebits), 0, 0, 0); err != nil {
		return os.NewSyscallError("securebits", err)
	}
	if !id.NoCaps {
		return nil
	}
	keep := [2]uint32{}
	for _, c := range id.Ambient {
		keep[c/32] |= 1 << (c % 32)
	}
	for i := range data {
		data[i].Effective, data[i].Permitted = keep[i], keep[i]
	}
	return os.NewSyscallError("capset", unix.Capset(&hdr, &data[0]))
}

func raw(nr, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(nr, a, b, c); errno != 0 {
		return fmt.Errorf("call %d: %w", nr, errno)
	}
	return nil
}
