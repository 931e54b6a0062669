//go:build linux

package sys

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A Schedule is how the kernel serves one thread: sched(7), ioprio_set(2), and
// the timer slack of prctl(2).
type Schedule struct {
	Policy, Nice, Priority int
	// ResetOnFork is SCHED_FLAG_RESET_ON_FORK.
	ResetOnFork bool
	CPUs        unix.CPUSet
	IO          int    // class<<13 | level, 0 for none
	Slack       string // nanoseconds; empty where the kernel does not tell
}

const ioprioWhoProcess = 1 // IOPRIO_WHO_PROCESS, which means a thread

// ScheduleOf reads how thread tid is served.
func ScheduleOf(tid int) (s Schedule, err error) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return s, os.NewSyscallError("sched_getattr", err)
	}
	s.Policy, s.Nice, s.Priority = int(attr.Policy), int(attr.Nice), int(attr.Priority)
	s.ResetOnFork = attr.Flags&unix.SCHED_FLAG_RESET_ON_FORK != 0
	if err := unix.SchedGetaffinity(tid, &s.CPUs); err != nil {
		return s, os.NewSyscallError("sched_getaffinity", err)
	}
	io, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, uintptr(tid), 0)
	if errno != 0 {
		return s, os.NewSyscallError("ioprio_get", errno)
	}
	s.IO = int(io)
	if slack, err := os.ReadFile(slackPath(tid)); err == nil {
		s.Slack = strings.TrimSpace(string(slack))
	}
	return s, nil
}

// Apply has thread tid served so.
func (s Schedule) Apply(tid int) error {
	attr := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: uint32(s.Policy), Nice: int32(s.Nice), Priority: uint32(s.Priority),
	}
	if s.ResetOnFork {
		attr.Flags = unix.SCHED_FLAG_RESET_ON_FORK
	}
	if err := unix.SchedSetAttr(tid, &attr, 0); err != nil {
		return os.NewSyscallError("sched_setattr", err)
	}
	if err := unix.SchedSetaffinity(tid, &s.CPUs); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(tid), uintptr(s.IO)); errno != 0 {
		return os.NewSyscallError("ioprio_set", errno)
	}
	return s.ApplySlack(tid)
}

// ApplySlack gives thread tid the timer slack alone.
func (s Schedule) ApplySlack(tid int) error {
	if s.Slack == "" {
		return nil
	}
	return os.WriteFile(slackPath(tid), []byte(s.Slack), 0)
}

// slackPath is not below /proc/PID/task: there the file does not exist.
func slackPath(tid int) string { return fmt.Sprintf("/proc/%d/timerslack_ns", tid) }

// Ordinary has thread tid served as most are: SCHED_OTHER with nice value 0.
func Ordinary(tid int) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(tid, &attr, 0))
}

// IsRealtime reports whether thread tid goes before all ordinary ones.
func IsRealtime(tid int) (bool, error) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return false, os.NewSyscallError("sched_getattr", err)
	}
	return attr.Policy == unix.SCHED_FIFO || attr.Policy == unix.SCHED_RR || attr.Policy == unix.SCHED_DEADLINE, nil
}
