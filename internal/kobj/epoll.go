//go:build linux

package kobj

import (
	"os"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// epoll is an interest list, epoll(7). An entry belongs to a descriptor number
// of the process that added it, so the phantom itself adds the entries, after
// all of its descriptors are in place: see [Interests].
type epoll struct{}

func (epoll) Name() string { return "epoll" }

func (epoll) Match(src *Source) bool { return src.Link == "anon_inode:[eventpoll]" }

func (epoll) Capture(src *Source) (any, error) { return src.Info.Epoll, nil }

func (epoll) Restore(_ *World, _ *Description) (sys.FD, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return sys.FD(fd), os.NewSyscallError("epoll_create1", err)
}

// Interests returns the entries of an epoll description, nil for other kinds.
func Interests(d *Description) []procfs.EpollEntry {
	entries, _ := d.State.([]procfs.EpollEntry)
	return entries
}
