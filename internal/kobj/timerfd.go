//go:build linux

package kobj

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// timerfd is a timer, timerfd_create(2). It is set to the time it had left.
type timerfd struct{}

type timerState struct {
	clock int
	ticks uint64        // expirations that were not read yet
	at    time.Duration // monotonic clock when the rest was read
	spec  unix.ItimerSpec
}

func (timerfd) Name() string { return "timerfd" }

func (timerfd) Match(src *Source) bool { return src.Link == "anon_inode:[timerfd]" }

func (timerfd) Capture(src *Source) (any, error) {
	if src.Info.Timerfd == nil {
		return nil, errors.New("fdinfo shows no timer")
	}
	st := timerState{clock: src.Info.Timerfd.ClockID, ticks: src.Info.Timerfd.Ticks}
	// A periodic timer that expired rests until it is looked at; only then it
	// counts what it missed, do_timerfd_gettime.
	if err := unix.TimerfdGettime(int(src.Dup), &st.spec); err != nil {
		return nil, os.NewSyscallError("timerfd_gettime", err)
	}
	st.at, _ = sys.Clocks()
	if st.ticks > 0 && st.spec.Interval != (unix.Timespec{}) {
		info, err := procfs.ReadFDInfo(src.PID, src.FD)
		if err != nil || info.Timerfd == nil {
			return nil, fmt.Errorf("fdinfo of the timer: %w", err)
		}
		st.ticks = info.Timerfd.Ticks
	}
	return st, nil
}

// Restore makes the timer. It is set by Arm.
func (timerfd) Restore(_ *World, d *Description) (sys.FD, error) {
	st := d.State.(timerState)
	fd, err := unix.TimerfdCreate(st.clock, unix.TFD_CLOEXEC|d.Flags&unix.O_NONBLOCK)
	return sys.FD(fd), os.NewSyscallError("timerfd_create", err)
}

// resumed turns st, which was read a little later than cut, into what it is
// when the world's clock has run on from cut for a while.
func (st timerState) resumed(cut, ran time.Duration) timerState {
	value, interval := time.Duration(st.spec.Value.Nano()), time.Duration(st.spec.Interval.Nano())
	if value == 0 {
		return st
	}
	value += st.at - cut
	for interval > 0 && st.ticks > 0 && value > interval {
		value -= interval
		st.ticks--
	}
	st.spec.Value = unix.NsecToTimespec(int64(max(1, value-ran)))
	return st
}

// Arm sets the timers among all, whose new descriptors are fds. The snapshot
// was taken when the monotonic clock showed cut, and the world's clock goes on
// from there when it shows resumed, soon or just now. So none is early.
func Arm(all []*Description, fds []sys.FD, cut, resumed time.Duration) error {
	for i, d := range all {
		st, ok := d.State.(timerState)
		if !ok {
			continue
		}
		now, _ := sys.Clocks()
		st = st.resumed(cut, now-resumed)
		if err := unix.TimerfdSettime(int(fds[i]), 0, &st.spec, nil); err != nil {
			return fmt.Errorf("restore %v: %w", d, os.NewSyscallError("timerfd_settime", err))
		}
		if st.ticks == 0 {
			continue
		}
		if err := sys.SetTimerTicks(fds[i], st.ticks); err != nil {
			return fmt.Errorf("restore %v: %w", d, err)
		}
	}
	return nil
}
