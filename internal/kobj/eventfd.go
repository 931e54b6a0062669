//go:build linux

package kobj

import (
	"errors"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// eventfd is a counter, eventfd(2).
type eventfd struct{}

type eventfdState struct {
	count     uint64
	semaphore bool
}

func (eventfd) Name() string { return "eventfd" }

func (eventfd) Match(src *Source) bool { return src.Link == "anon_inode:[eventfd]" }

func (eventfd) Capture(src *Source) (any, error) {
	if src.Info.EventfdCount == nil {
		return nil, errors.New("fdinfo shows no eventfd-count")
	}
	return eventfdState{*src.Info.EventfdCount, src.Info.EventfdSemaphore}, nil
}

func (eventfd) Restore(_ *World, d *Description) (sys.FD, error) {
	st := d.State.(eventfdState)
	flags := unix.EFD_CLOEXEC | d.Flags&unix.O_NONBLOCK
	if st.semaphore {
		flags |= unix.EFD_SEMAPHORE
	}
	fd, err := unix.Eventfd(0, flags)
	if err != nil {
		return -1, os.NewSyscallError("eventfd2", err)
	}
	// The count does not fit eventfd's argument, which has 32 bits.
	if st.count > 0 {
		var buf [8]byte
		for i := range buf {
			buf[i] = byte(st.count >> (8 * i))
		}
		if _, err := unix.Write(fd, buf[:]); err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("write eventfd", err)
		}
	}
	return sys.FD(fd), nil
}
