//go:build linux

package victim

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A schedule is how the kernel serves one thread.
type schedule struct {
	policy, nice, priority int
	cpu                    int // the only one that it may run on
	slack                  string
	io                     int
}

// classes of ioprio_set(2), which stand above the level.
const (
	ioBestEffort = 2 << 13
	ioIdle       = 3 << 13
)

// lastCPU is the highest processor that the thread may use.
func lastCPU() (last int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, err
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			last = cpu
		}
	}
	return last, nil
}

// scheduled has threads that are served in different ways, the lead among them.
func scheduled(string) (step, error) {
	last, err := lastCPU()
	if err != nil {
		return nil, err
	}
	wants := []schedule{
		{policy: unix.SCHED_NORMAL, nice: 2, cpu: last, slack: "60000", io: ioBestEffort | 1},
		{policy: unix.SCHED_NORMAL, nice: 11, cpu: 0, slack: "70000", io: ioBestEffort | 6},
		{policy: unix.SCHED_BATCH, nice: 4, cpu: last, slack: "80000", io: ioIdle},
		{policy: unix.SCHED_IDLE, nice: 19, cpu: last, slack: "50000", io: 0},
		{policy: unix.SCHED_NORMAL, nice: -3, cpu: 0, slack: "1", io: ioBestEffort | 4},
	}
	tids, err := apply(wants)
	if err != nil {
		return nil, err
	}
	for i, tid := range tids {
		// For every way that the kernel rounds what was asked for.
		if wants[i], err = scheduleOf(tid); err != nil {
			return nil, err
		}
	}
	return func() (string, error) {
		for i, tid := range tids {
			got, err := scheduleOf(tid)
			if err != nil || got != wants[i] {
				return "", fmt.Errorf("thread %d is served as %+v (%w), want %+v", tid, got, err, wants[i])
			}
		}
		return "", nil
	}, nil
}

// realtime has threads with real-time priority. It notes what it has.
func realtime(string) (step, error) {
	last, err := lastCPU()
	if err != nil {
		return nil, err
	}
	// Raising the limit may be forbidden here. The priorities below are not.
	_ = unix.Setrlimit(unix.RLIMIT_RTPRIO, &unix.Rlimit{Cur: 7, Max: 8})
	tids, err := apply([]schedule{
		{policy: unix.SCHED_FIFO, priority: 3, cpu: last, slack: "50000"},
		{policy: unix.SCHED_RR, priority: 5, cpu: last, slack: "50000"},
		{policy: unix.SCHED_NORMAL, nice: 7, cpu: last, slack: "50000"},
	})
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		var notes []string
		for _, tid := range tids {
			s, err := scheduleOf(tid)
			if err != nil {
				return "", err
			}
			notes = append(notes, fmt.Sprintf("%d/%d/%d", s.policy, s.priority, s.nice))
		}
		var limit unix.Rlimit
		err := unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit)
		return fmt.Sprintf("%s, limit %d", strings.Join(notes, " "), limit.Max), err
	}, nil
}

// apply gives the first schedule to the calling thread, and makes one for each
// of the others.
func apply(wants []schedule) (tids []int, err error) {
	type made struct {
		tid int
		err error
	}
	for _, want := range wants[1:] {
		done := make(chan made)
		go func() {
			runtime.LockOSThread()
			done <- made{unix.Gettid(), want.set()}
			select {}
		}()
		m := <-done
		if m.err != nil {
			return nil, m.err
		}
		tids = append(tids, m.tid)
	}
	return append(tids, unix.Gettid()), wants[0].set()
}

// set gives the calling thread the schedule.
func (s schedule) set() error {
	var cpus unix.CPUSet
	cpus.Set(s.cpu)
	if err := unix.SchedSetaffinity(0, &cpus); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: uint32(s.policy), Nice: int32(s.nice), Priority: uint32(s.priority)}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return os.NewSyscallError("sched_setattr", err)
	}
	const process = 1 // IOPRIO_WHO_PROCESS, which is a thread
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, process, 0, uintptr(s.io)); errno != 0 {
		return os.NewSyscallError("ioprio_set", errno)
	}
	var slack int
	if _, err := fmt.Sscan(s.slack, &slack); err != nil {
		return err
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0))
}

// scheduleOf asks the kernel about a thread of this process.
func scheduleOf(tid int) (s schedule, err error) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return s, os.NewSyscallError("sched_getattr", err)
	}
	s.policy, s.nice, s.priority = int(attr.Policy), int(attr.Nice), int(attr.Priority)
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &cpus); err != nil {
		return s, os.NewSyscallError("sched_getaffinity", err)
	}
	for s.cpu = 0; !cpus.IsSet(s.cpu); s.cpu++ {
	}
	if n := cpus.Count(); n != 1 {
		s.cpu = -n
	}
	r, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(tid), 0)
	if errno != 0 {
		return s, os.NewSyscallError("ioprio_get", errno)
	}
	s.io = int(r)
	// Below /proc/PID/task there is no such file.
	slack, err := readTold(fmt.Sprintf("/proc/%d/timerslack_ns", tid))
	s.slack = strings.TrimSpace(string(slack))
	return s, err
}

// locked keeps all its memory from being paged out. It notes how much that is.
func locked(string) (step, error) {
	// The memory of Go's runtime is mostly reserved: lock what there is alone.
	mem, err := mmap(-1, memorySize, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	if err := unix.Mlock(mem); err != nil {
		return nil, os.NewSyscallError("mlock", err)
	}
	check := counted("locked", mem)
	return func() (string, error) {
		if _, err := check(); err != nil {
			return "", err
		}
		return statusTrait("VmLck").get()
	}, nil
}
