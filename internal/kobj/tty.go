//go:build linux

package kobj

import (
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// tty is a terminal. In the world its output goes to the member's log, and
// reading from it finds the end of file.
type tty struct{}

func (tty) Name() string { return "tty" }

func (tty) Match(src *Source) bool {
	if src.Stat.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	switch unix.Major(src.Stat.Rdev) {
	case 4, 5, 136, 137, 138, 139, 140, 141, 142, 143: // tty, console and ptmx, pts
		return true
	}
	return false
}

func (tty) Capture(src *Source) (any, error) { return src.Link, nil }

func (tty) Restore(w *World, d *Description) (sys.FD, error) {
	if d.Flags&unix.O_ACCMODE == unix.O_RDONLY {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return sys.FD(fd), err
	}
	return w.output(d, d.State.(string))
}
