//go:build linux

package kobj

import (
	"errors"
	"os"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// timerfd is a timer, timerfd_create(2). It is set to the time it had left.
type timerfd struct{}

func (timerfd) Name() string { return "timerfd" }

func (timerfd) Match(src *Source) bool { return src.Link == "anon_inode:[timerfd]" }

func (timerfd) Capture(src *Source) (any, error) {
	if src.Info.Timerfd == nil {
		return nil, errors.New("fdinfo shows no timer")
	}
	return *src.Info.Timerfd, nil
}

func (timerfd) Restore(_ *World, d *Description) (sys.FD, error) {
	st := d.State.(procfs.Timerfd)
	fd, err := unix.TimerfdCreate(st.ClockID, unix.TFD_CLOEXEC|d.Flags&unix.O_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("timerfd_create", err)
	}
	value := st.Value
	if st.Ticks > 0 {
		// Expirations that were not read yet: the timer fires at once, and
		// then keeps its interval.
		value = 1
	}
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(st.Interval)),
		Value:    unix.NsecToTimespec(int64(value)),
	}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("timerfd_settime", err)
	}
	return sys.FD(fd), nil
}
