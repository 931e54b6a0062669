//go:build linux

package victim

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A wait is one way to let time pass in the kernel.
type wait struct {
	name string
	// again is set where a wait that was cut short begins anew: the kernel
	// alone knew what was left of it.
	again bool
	until func(due time.Duration) error
}

func timespec(d time.Duration) *unix.Timespec { ts := unix.NsecToTimespec(int64(d)); return &ts }

// ended tells the end of a wait from a failure of it.
func ended(errno unix.Errno) error {
	if errno == 0 || errno == unix.ETIMEDOUT {
		return nil
	}
	return errno
}

func waits() []wait {
	word := new(uint32)
	futex := func(op int, ts *unix.Timespec) error {
		_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(op|128), 0, uintptr(unsafe.Pointer(ts)), 0, ^uintptr(0)>>32)
		return ended(errno)
	}
	sleep := func(clock, flags int, ts, rest *unix.Timespec) error {
		_, _, errno := unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, uintptr(clock), uintptr(flags), uintptr(unsafe.Pointer(ts)), uintptr(unsafe.Pointer(rest)), 0, 0)
		return ended(errno)
	}
	const absolute = 1 // TIMER_ABSTIME, and TFD_TIMER_ABSTIME
	timer := func(flags int, of func(time.Duration) time.Duration) func(time.Duration) error {
		return func(due time.Duration) error {
			fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.TimerfdSettime(fd, flags, &unix.ItimerSpec{Value: *timespec(of(due))}, nil); err != nil {
				return err
			}
			_, err = unix.Read(fd, make([]byte, 8))
			return err
		}
	}
	left := func(due time.Duration) time.Duration { return max(1, due-monotonic()) }
	offset := clock(unix.CLOCK_BOOTTIME) - monotonic()
	return []wait{
		{"clock_nanosleep until", false, func(due time.Duration) error {
			return sleep(unix.CLOCK_MONOTONIC, absolute, timespec(due), nil)
		}},
		{"clock_nanosleep until, boot time", false, func(due time.Duration) error {
			return sleep(unix.CLOCK_BOOTTIME, absolute, timespec(due+offset), nil)
		}},
		{"clock_nanosleep for, with the rest in place", false, func(due time.Duration) error {
			ts := timespec(left(due))
			return sleep(unix.CLOCK_MONOTONIC, 0, ts, ts)
		}},
		{"clock_nanosleep for", true, func(due time.Duration) error {
			return sleep(unix.CLOCK_MONOTONIC, 0, timespec(left(due)), nil)
		}},
		{"futex until", false, func(due time.Duration) error { return futex(9 /* FUTEX_WAIT_BITSET */, timespec(due)) }},
		{"futex for", true, func(due time.Duration) error { return futex(0 /* FUTEX_WAIT */, timespec(left(due))) }},
		{"timerfd until", false, timer(absolute, func(due time.Duration) time.Duration { return due })},
		{"timerfd for", false, timer(0, left)},
		{"ppoll for", false, func(due time.Duration) error {
			_, err := unix.Ppoll(nil, timespec(left(due)), nil)
			return err
		}},
		{"poll for", true, func(due time.Duration) error {
			_, err := unix.Poll(nil, int(left(due)/time.Millisecond)+1)
			return err
		}},
		{"select for", false, func(due time.Duration) error {
			tv := unix.NsecToTimeval(int64(left(due)))
			_, err := unix.Select(0, nil, nil, nil, &tv)
			return err
		}},
		{"epoll_wait for", false, func(due time.Duration) error {
			ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(ep)
			_, err = unix.EpollWait(ep, make([]unix.EpollEvent, 1), int(left(due)/time.Millisecond)+1)
			return err
		}},
	}
}

// nap is long enough that a wait is under way at every cut.
const nap = 700 * time.Millisecond

// timeouts has a thread in each way to wait. None may end early, unless it says
// so, and none may be late by what it took to make the world.
func timeouts(string) (step, error) {
	all := waits()
	failed := make(chan error, len(all))
	started := make([]atomic.Int64, len(all)) // the monotonic clock
	for i, w := range all {
		started[i].Store(int64(monotonic()))
		go func() {
			runtime.LockOSThread()
			for {
				began := monotonic()
				started[i].Store(int64(began))
				due := began + nap
				for {
					err := w.until(due)
					if err == unix.EINTR {
						continue // it says so itself, as it would for a signal
					}
					if err != nil {
						failed <- fmt.Errorf("%s: %w", w.name, err)
						return
					}
					break
				}
				if now := monotonic(); now < due {
					failed <- fmt.Errorf("%s ended %v early", w.name, due-now)
					return
				}
			}
		}()
	}
	return func() (string, error) {
		select {
		case err := <-failed:
			return "", err
		default:
		}
		for i, w := range all {
			limit := nap + late/4
			if w.again {
				limit += nap
			}
			if took := monotonic() - time.Duration(started[i].Load()); took > limit {
				return "", fmt.Errorf("%s has lasted %v, it is for %v", w.name, took, nap)
			}
		}
		return "", nil
	}, nil
}
