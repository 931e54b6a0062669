//go:build linux

package kobj

import (
	"errors"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// signalfd accepts signals of whoever reads it, signalfd(2): it has a mask and
// no other state.
type signalfd struct{}

func (signalfd) Name() string { return "signalfd" }

func (signalfd) Match(src *Source) bool { return src.Link == "anon_inode:[signalfd]" }

func (signalfd) Capture(src *Source) (any, error) {
	if src.Info.Sigmask == nil {
		return nil, errors.New("fdinfo shows no sigmask")
	}
	return *src.Info.Sigmask, nil
}

func (signalfd) Restore(_ *World, d *Description) (sys.FD, error) {
	var set unix.Sigset_t
	set.Val[0] = d.State.(uint64)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|d.Flags&unix.O_NONBLOCK)
	return sys.FD(fd), os.NewSyscallError("signalfd4", err)
}
