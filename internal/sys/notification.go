//go:build linux

package sys

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of seccomp(2) that a filter with a listener is installed with.
const (
	filterListener = 8  // SECCOMP_FILTER_FLAG_NEW_LISTENER
	filterTSync    = 1  // SECCOMP_FILTER_FLAG_TSYNC
	filterTSyncSRC = 16 // SECCOMP_FILTER_FLAG_TSYNC_ESRCH

	// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, since Linux 5.19: a call that has
	// been taken up is not cut short by signals, of which Go sends many.
	filterWaitKillable = 32
)

// ListenerFlags are what a thread installs a filter with that has a listener,
// the better ones first. The next serve a kernel that answers EINVAL.
var ListenerFlags = []uint64{filterListener | filterWaitKillable, filterListener}

// InstallFilter puts a filter on every thread of this process, for good, and
// returns the descriptor by which to hear of the calls that it stops at.
func InstallFilter(program []unix.SockFilter) (listener int, err error) {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	for _, flags := range ListenerFlags {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			uintptr(flags|filterTSync|filterTSyncSRC), uintptr(unsafe.Pointer(&prog)))
		runtime.KeepAlive(program)
		if errno == 0 {
			return int(fd), nil
		}
		if err = os.NewSyscallError("seccomp", errno); errno != unix.EINVAL {
			break
		}
	}
	return -1, err
}

// A Notification is a system call that a filter has stopped at, struct
// seccomp_notif in include/uapi/linux/seccomp.h.
type Notification struct {
	ID    uint64
	TID   uint32 // in the reader's pid namespace, 0 when it is not in there
	Flags uint32
	Nr    int32
	Arch  uint32
	PC    uint64
	Args  [6]uint64
}

// ErrNoNotification means that the call is not waiting any more: its thread was
// killed, or interrupted.
var ErrNoNotification = errors.New("the call is gone")

const (
	ioctlNotifRecv    = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	ioctlNotifSend    = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	ioctlNotifIDValid = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifFlagContinue = 1          // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// ReceiveNotification takes up the next call that waits at listener. It blocks.
func ReceiveNotification(listener FD) (n Notification, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlNotifRecv, uintptr(unsafe.Pointer(&n)))
	switch errno {
	case 0:
		return n, nil
	case unix.ENOENT, unix.EINTR:
		return n, ErrNoNotification
	}
	return n, os.NewSyscallError("ioctl seccomp_notif_recv", errno)
}

// AnswerNotification lets a call fail with errno, or be made when errno is 0.
func AnswerNotification(listener FD, id uint64, errno unix.Errno) error {
	response := struct { // struct seccomp_notif_resp
		id    uint64
		val   int64
		errno int32
		flags uint32
	}{id: id, errno: -int32(errno)}
	if errno == 0 {
		response.flags = notifFlagContinue
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlNotifSend, uintptr(unsafe.Pointer(&response)))
	if e != 0 && e != unix.ENOENT {
		return os.NewSyscallError("ioctl seccomp_notif_send", e)
	}
	return nil
}

// NotificationValid reports whether the call still waits, so that what was
// read of its thread is the thread's and not that of a later one with its number.
func NotificationValid(listener FD, id uint64) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlNotifIDValid, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}
