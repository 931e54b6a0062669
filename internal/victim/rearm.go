//go:build linux

package victim

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rearm sets its timers anew in each round, each to another time, makes one
// timer and deletes another. None ever fires.
func rearm(string) (step, error) {
	const ring = 3
	type armed struct {
		id       int32
		due      time.Duration // on the monotonic clock
		interval time.Duration
	}
	var timers [ring]armed
	var alarm armed
	n := 0
	check := func(name string, a armed, interval, left time.Duration) error {
		want := a.due - monotonic()
		if interval != a.interval || left > want+time.Second || left < want-time.Second {
			return fmt.Errorf("%s has %v left, then %v; want %v, %v", name, left, interval, want, a.interval)
		}
		return nil
	}
	once := func() error {
		defer func() { n++ }()
		if n > 0 {
			tv, err := unix.Getitimer(unix.ITIMER_REAL)
			if err != nil {
				return os.NewSyscallError("getitimer", err)
			}
			if err := check("the alarm", alarm, time.Duration(tv.Interval.Nano()), time.Duration(tv.Value.Nano())); err != nil {
				return err
			}
		}
		for i := range min(n, ring) {
			t := timers[(n-1-i)%ring]
			var spec itimerspec
			if _, _, errno := unix.Syscall(unix.SYS_TIMER_GETTIME, uintptr(t.id), uintptr(unsafe.Pointer(&spec)), 0); errno != 0 {
				return fmt.Errorf("timer %d: %w", t.id, errno)
			}
			if err := check(fmt.Sprintf("timer %d", t.id), t, span(spec.interval), span(spec.value)); err != nil {
				return err
			}
		}
		// Between minutes and hours: no two rounds can be taken for each other.
		left := time.Duration(3+n%50) * time.Minute
		alarm = armed{due: monotonic() + left, interval: left / 2}
		tv := unix.Itimerval{Interval: unix.NsecToTimeval(int64(left / 2)), Value: unix.NsecToTimeval(int64(left))}
		if _, err := unix.Setitimer(unix.ITIMER_REAL, tv); err != nil {
			return os.NewSyscallError("setitimer", err)
		}
		old := &timers[n%ring]
		if n >= ring {
			if _, _, errno := unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(old.id), 0, 0); errno != 0 {
				return fmt.Errorf("delete timer %d: %w", old.id, errno)
			}
		}
		*old = armed{due: monotonic() + left, interval: left / 3}
		var err error
		old.id, err = posixTimer(0, 0, 0, left, left/3)
		return err
	}
	return func() (string, error) {
		// Most of the time: a cut shall fall between two settings.
		for begin := monotonic(); monotonic()-begin < 2*period; {
			if err := once(); err != nil {
				return "", err
			}
		}
		return "", nil
	}, nil
}
