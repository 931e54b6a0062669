//go:build linux

package victim

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigwait takes one pending signal of set, 0 when there is none.
func sigwait(set *unix.Sigset_t) (sig, code int, value uint64, err error) {
	info := make([]byte, 128)
	var zero unix.Timespec
	r, _, errno := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(set)),
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&zero)), 8, 0, 0)
	if errno == unix.EAGAIN {
		return 0, 0, 0, nil
	}
	if errno != 0 {
		return 0, 0, 0, errno
	}
	ne := binary.NativeEndian
	return int(r), int(int32(ne.Uint32(info[8:]))), ne.Uint64(info[24:]), nil
}

// pending keeps signals pending, for the process and for the thread.
func pending(string) (step, error) {
	tid := unix.Gettid()
	var steps []step
	for _, c := range []struct {
		name     string
		sig, tid int
	}{{"process", 42, 0}, {"thread", 43, tid}} {
		var set unix.Sigset_t
		addSignal(&set, c.sig)
		sent, read := 0, 0
		steps = append(steps, func() (string, error) {
			for ; sent < read+4; sent++ {
				if err := queue(c.sig, c.tid, sent); err != nil {
					return "", err
				}
			}
			sig, code, value, err := sigwait(&set)
			if err != nil || sig != c.sig || code != -1 || value != uint64(read) {
				return "", fmt.Errorf("%s: signal %d, code %d, value %d (%v), want %d, -1, %d", c.name, sig, code, value, err, c.sig, read)
			}
			read++
			return "", nil
		})
	}
	return all(steps...), nil
}

type itimerspec struct{ interval, value unix.Timespec }

func span(ts unix.Timespec) time.Duration { return time.Duration(ts.Nano()) }

// posixTimer makes a timer that sends sig, to the thread tid when that is set.
func posixTimer(sig, tid int, value uint64, first, interval time.Duration) (id int32, err error) {
	ev := struct { // struct sigevent
		value         uint64
		signo, notify int32
		tid           int32
		_             [44]byte
	}{value: value, signo: int32(sig)}
	if tid != 0 {
		ev.notify, ev.tid = 4, int32(tid) // SIGEV_THREAD_ID
	}
	if sig == 0 {
		ev.notify = 1 // SIGEV_NONE
	}
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id))); errno != 0 {
		return 0, os.NewSyscallError("timer_create", errno)
	}
	spec := itimerspec{unix.NsecToTimespec(int64(interval)), unix.NsecToTimespec(int64(first))}
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		return 0, os.NewSyscallError("timer_settime", errno)
	}
	return id, nil
}

// timerOfThread starts a thread with a timer of its own. The result is when it
// fired last.
func timerOfThread(interval time.Duration) (*atomic.Int64, error) {
	last := new(atomic.Int64)
	last.Store(int64(monotonic()))
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		var set unix.Sigset_t
		addSignal(&set, 41)
		_, err := posixTimer(41, unix.Gettid(), 4141, interval, interval)
		ready <- err
		for {
			sig, _, value, err := sigwait(&set)
			if err == nil && sig == 41 && value == 4141 {
				last.Store(int64(monotonic()))
			}
			time.Sleep(interval / 2)
		}
	}()
	return last, <-ready
}

// timers has POSIX timers of each notification, and an interval timer.
func timers(string) (step, error) {
	const interval = 10 * time.Millisecond
	begin := monotonic()
	gone, err := posixTimer(0, 0, 0, time.Hour, 0) // leaves a gap in the numbers
	if err != nil {
		return nil, err
	}
	process, err := posixTimer(44, 0, 4444, interval, interval)
	if err != nil {
		return nil, err
	}
	thread, err := posixTimer(45, unix.Gettid(), 4545, interval, interval)
	if err != nil {
		return nil, err
	}
	other, err := timerOfThread(interval)
	if err != nil {
		return nil, err
	}
	silent, err := posixTimer(0, 0, 0, time.Hour, time.Minute)
	if err != nil {
		return nil, err
	}
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(gone), 0, 0); errno != 0 {
		return nil, errno
	}
	var alarms atomic.Int64
	caught := make(chan os.Signal, 100)
	signal.Notify(caught, unix.SIGALRM)
	go func() {
		for range caught {
			alarms.Add(1)
		}
	}()
	tv := unix.NsecToTimeval(int64(interval))
	alarmBegin := monotonic()
	if _, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Interval: tv, Value: tv}); err != nil {
		return nil, err
	}
	if _, err := unix.Setitimer(unix.ITIMER_PROF, unix.Itimerval{Value: unix.Timeval{Sec: 36000}}); err != nil {
		return nil, err
	}
	fired := map[int]int64{}
	lastFired := map[int]time.Duration{44: begin, 45: begin, int(unix.SIGALRM): alarmBegin}
	return func() (string, error) {
		for sig, id := range map[int]int32{44: process, 45: thread} {
			var set unix.Sigset_t
			addSignal(&set, sig)
			got, code, value, err := sigwait(&set)
			if err != nil {
				return "", err
			}
			if got != 0 {
				if want := uint64(sig * 101); code != -2 || value != want {
					return "", fmt.Errorf("timer %d: code %d, value %d, want -2, %d", id, code, value, want)
				}
				more, _, errno := unix.Syscall(unix.SYS_TIMER_GETOVERRUN, uintptr(id), 0, 0)
				if errno != 0 {
					return "", fmt.Errorf("overrun of timer %d: %w", id, errno)
				}
				fired[sig] += 1 + int64(more)
				lastFired[sig] = monotonic()
			}
			if due := int64((monotonic() - begin) / interval); fired[sig] > due {
				return "", fmt.Errorf("timer %d fired %d times after time for %d", id, fired[sig], due)
			}
			if ago := monotonic() - lastFired[sig]; ago > 5*late {
				return "", fmt.Errorf("timer %d has not fired for %v", id, ago)
			}
		}
		if ago := monotonic() - time.Duration(other.Load()); ago > 5*late {
			return "", fmt.Errorf("the timer of another thread has not fired for %v", ago)
		}
		var spec itimerspec
		if _, _, errno := unix.Syscall(unix.SYS_TIMER_GETTIME, uintptr(silent), uintptr(unsafe.Pointer(&spec)), 0); errno != 0 {
			return "", fmt.Errorf("timer %d: %w", silent, errno)
		}
		left := span(spec.value)
		if want := time.Hour - (monotonic() - begin); left > want+late || left < want-late || span(spec.interval) != time.Minute {
			return "", fmt.Errorf("%v and %v left of the silent timer, want %v", left, span(spec.interval), want)
		}
		sig := int(unix.SIGALRM)
		if n := alarms.Load(); n > fired[sig] {
			fired[sig], lastFired[sig] = n, monotonic()
			if due := int64((monotonic() - alarmBegin) / interval); n > due {
				return "", fmt.Errorf("%d alarms after time for %d", n, due)
			}
		}
		if ago := monotonic() - lastFired[sig]; ago > 5*late {
			return "", fmt.Errorf("no alarm for %v", ago)
		}
		prof, err := unix.Getitimer(unix.ITIMER_PROF)
		if err != nil || prof.Value.Sec < 35000 || prof.Value.Sec > 36000 {
			return "", fmt.Errorf("profiling timer at %+v, %v", prof, err)
		}
		return "", nil
	}, nil
}
