//go:build linux

package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNotSupported means that this kernel lacks a call.
var ErrNotSupported = errors.New("not supported by this kernel")

// An FD is a descriptor that we own. Close it once.
type FD int

// Close closes the descriptor.
func (fd FD) Close() error { return os.NewSyscallError("close", unix.Close(int(fd))) }

// KeepFromChildren makes every descriptor but the first three one that programs
// which we start do not get, unless they are given it. See close_range(2).
func KeepFromChildren() error {
	err := unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	return os.NewSyscallError("close_range", err)
}

// SameFile reports whether fd1 of pid1 and fd2 of pid2 are one open file
// description, so that a single offset and set of flags serve both. See kcmp(2).
func SameFile(pid1, fd1, pid2, fd2 int) (bool, error) {
	order, err := CompareFile(pid1, fd1, pid2, fd2)
	return err == nil && order == 0, err
}

// CompareFile orders open file descriptions, in a way that is fixed until the
// next boot: it returns -1, 0 or 1. See kcmp(2).
func CompareFile(pid1, fd1, pid2, fd2 int) (int, error) {
	const kcmpFile = 0 // KCMP_FILE, include/uapi/linux/kcmp.h
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpFile, uintptr(fd1), uintptr(fd2), 0)
	switch {
	case errno == unix.ENOSYS:
		return 0, fmt.Errorf("kcmp: %w", ErrNotSupported)
	case errno != 0:
		return 0, os.NewSyscallError("kcmp", errno)
	case r == 0:
		return 0, nil
	case r == 1:
		return -1, nil
	case r == 2:
		return 1, nil
	}
	return 0, fmt.Errorf("kcmp finds no order, %d", r)
}

// PidfdOpen returns a descriptor of process pid. See pidfd_open(2).
func PidfdOpen(pid int) (FD, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	return FD(fd), os.NewSyscallError("pidfd_open", err)
}

// PidfdOpenThread returns a descriptor of thread tid, whichever it is of its process,
// that does not block. It becomes readable when the thread has ended. An older
// kernel than 6.9 says EINVAL.
func PidfdOpenThread(tid int) (FD, error) {
	const thread = unix.O_EXCL // PIDFD_THREAD, include/uapi/linux/pidfd.h
	fd, err := unix.PidfdOpen(tid, thread|unix.PIDFD_NONBLOCK)
	return FD(fd), os.NewSyscallError("pidfd_open", err)
}

// PidfdGetFD duplicates descriptor fd of the process behind pidfd.
// See pidfd_getfd(2).
func PidfdGetFD(pidfd FD, fd int) (FD, error) {
	n, err := unix.PidfdGetfd(int(pidfd), fd, 0)
	return FD(n), os.NewSyscallError("pidfd_getfd", err)
}

// PidfdWait blocks until the process behind pidfd has ended or timeout
// milliseconds have passed (-1: for ever), and reports whether it ended.
func PidfdWait(pidfd FD, timeout int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, timeout)
		if err != unix.EINTR {
			return n > 0, os.NewSyscallError("poll", err)
		}
	}
}

// PidfdSignal sends a signal to the process behind pidfd.
// See pidfd_send_signal(2).
func PidfdSignal(pidfd FD, signal unix.Signal) error {
	return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(int(pidfd), signal, nil, 0))
}

// RobustList returns the head of a thread's list of robust futexes and its
// length argument. See get_robust_list(2).
func RobustList(tid int) (head, length uint64, err error) {
	_, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid),
		uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&length)))
	if errno != 0 {
		return 0, 0, os.NewSyscallError("get_robust_list", errno)
	}
	return head, length, nil
}

// OwnTime is the processor time that this process has taken.
func OwnTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Tgkill sends sig to one thread.
func Tgkill(tgid, tid int, sig unix.Signal) error {
	return os.NewSyscallError("tgkill", unix.Tgkill(tgid, tid, sig))
}

// Nanosleep blocks the calling thread, not the goroutine, for ns nanoseconds.
// The tracer uses it between polls, where the scheduler's timers are too coarse.
func Nanosleep(ns int64) {
	ts := unix.NsecToTimespec(ns)
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// Realtime gives thread tid, or the calling thread when tid is 0, SCHED_FIFO
// priority prio, or SCHED_OTHER with the nice value that it has when prio is 0.
// Children do not inherit the priority.
func Realtime(tid, prio int) error {
	if prio == 0 {
		return setScheduler(tid, unix.SCHED_NORMAL, 0)
	}
	const resetOnFork = 0x40000000 // SCHED_RESET_ON_FORK
	return setScheduler(tid, unix.SCHED_FIFO|resetOnFork, prio)
}

// NiceOf returns the nice value of the calling thread.
func NiceOf() (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	return 20 - n, os.NewSyscallError("getpriority", err) // the call itself has no negative results
}

// Urgently runs fn with real-time priority for the calling thread, where that is
// allowed.
func Urgently(prio int, fn func() error) (err error) {
	if Realtime(0, prio) == nil {
		defer func() { err = errors.Join(err, Realtime(0, 0)) }()
	}
	return fn()
}

// RealtimeKin is Realtime with a priority that children inherit.
func RealtimeKin(tid, prio int) error { return setScheduler(tid, unix.SCHED_FIFO, prio) }

// setScheduler is sched_setscheduler(2).
func setScheduler(tid, policy, prio int) error {
	param := int32(prio)
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(tid), uintptr(policy), uintptr(unsafe.Pointer(&param)))
	if errno != 0 {
		return os.NewSyscallError("sched_setscheduler", errno)
	}
	return nil
}

// A Deadman is a kernel timer that kills this process when it is not disarmed
// in time: production must be released even when the agent hangs.
type Deadman struct{ id int32 }

// NewDeadman creates a disarmed timer. See timer_create(2).
func NewDeadman() (*Deadman, error) {
	ev := struct { // struct sigevent, include/uapi/asm-generic/siginfo.h
		value  uint64
		signo  int32
		notify int32
		_      [48]byte
	}{signo: int32(unix.SIGKILL)}
	d := &Deadman{}
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&d.id)))
	if errno != 0 {
		return nil, os.NewSyscallError("timer_create", errno)
	}
	return d, nil
}

// Arm kills this process in ns nanoseconds; 0 disarms.
func (d *Deadman) Arm(ns int64) error {
	var spec [2]unix.Timespec // interval, value
	spec[1] = unix.NsecToTimespec(ns)
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(d.id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	return nil
}

// Close deletes the timer.
func (d *Deadman) Close() error {
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(d.id), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timer_delete", errno)
	}
	return nil
}

// SetTimerTicks gives a timerfd expirations that were not read yet. See
// timerfd_create(2), TFD_IOC_SET_TICKS.
func SetTimerTicks(fd FD, ticks uint64) error {
	const setTicks = 0x40085400 // TFD_IOC_SET_TICKS, include/uapi/linux/timerfd.h
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), setTicks, uintptr(unsafe.Pointer(&ticks)))
	if errno != 0 {
		return os.NewSyscallError("ioctl tfd_ioc_set_ticks", errno)
	}
	return nil
}

// MultipathSequence returns where an MPTCP connection has come to: the number of
// the next byte to be written, and of the next to be received. The bytes that
// one end has written are numbered as the other receives them.
func MultipathSequence(fd FD) (written, received uint64, err error) {
	const solMPTCP, mptcpInfo = 284, 1 // include/uapi/linux/mptcp.h
	var info [48]byte                  // struct mptcp_info up to mptcpi_rcv_nxt
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), solMPTCP, mptcpInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, 0, os.NewSyscallError("getsockopt mptcp_info", errno)
	}
	return binary.NativeEndian.Uint64(info[16:]), binary.NativeEndian.Uint64(info[32:]), nil
}

// TCPInfo reads what the kernel tells of a connection, tcp(7), without an
// allocation: there may be thousands of them.
func TCPInfo(fd FD, info *unix.TCPInfo) error {
	size := uint32(unsafe.Sizeof(*info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return os.NewSyscallError("getsockopt tcp_info", errno)
	}
	return nil
}

// Clocks returns CLOCK_MONOTONIC and CLOCK_BOOTTIME.
func Clocks() (monotonic, boottime time.Duration) {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	monotonic = time.Duration(ts.Nano())
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return monotonic, time.Duration(ts.Nano())
}

// Release returns the kernel's release, as uname(2) tells it.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// LockMemory keeps the pages that this process has, and those that it gets, from
// being taken away: mlockall(2). It fetches none.
func LockMemory() error {
	return os.NewSyscallError("mlockall", unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT))
}

// UnlockMemory undoes [LockMemory].
func UnlockMemory() error { return os.NewSyscallError("munlockall", unix.Munlockall()) }

// Faults are how often a thread waited for a page: for one that had to be made or
// found, and for one that had to be read from a disk.
type Faults struct{ Minor, Major int64 }

// ThreadFaults returns those of the calling thread, getrusage(2).
func ThreadFaults() Faults {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return Faults{}
	}
	return Faults{u.Minflt, u.Majflt}
}

// CollapseRange puts the pages of another process at an address into huge ones,
// process_madvise(2) with MADV_COLLAPSE, and returns how many bytes it came to.
func CollapseRange(pidfd FD, start, size uint64) (uint64, error) {
	remote := unix.RemoteIovec{Base: uintptr(start), Len: int(size)}
	n, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(pidfd), uintptr(unsafe.Pointer(&remote)), 1, unix.MADV_COLLAPSE, 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("process_madvise", errno)
	}
	return uint64(n), nil
}

// pageScan is struct pm_scan_arg of include/uapi/linux/fs.h.
type pageScan struct {
	size, flags, start, end, walkEnd    uint64
	vec, vecLen, maxPages               uint64
	inverted, mask, anyOf, returnedMask uint64
}

// pageRegion is struct page_region.
type pageRegion struct{ start, end, categories uint64 }

// InHugePage reports whether the page at an address of a process, by its
// /proc/PID/pagemap, is part of a huge page: ioctl(2) PAGEMAP_SCAN, Linux 6.7.
func InHugePage(pagemap *os.File, addr uint64) (bool, error) {
	const scan, huge, page = 0xc0606610, 1 << 6, 4096 // PAGEMAP_SCAN, PAGE_IS_HUGE
	found := new(pageRegion)
	var pinned runtime.Pinner // the kernel gets its address as a number
	pinned.Pin(found)
	defer pinned.Unpin()
	arg := pageScan{
		size: uint64(unsafe.Sizeof(pageScan{})), start: addr, end: addr + page,
		vec: uint64(uintptr(unsafe.Pointer(found))), vecLen: 1, mask: huge, returnedMask: huge,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, pagemap.Fd(), scan, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return false, os.NewSyscallError("ioctl pagemap_scan", errno)
	}
	return n > 0, nil
}
