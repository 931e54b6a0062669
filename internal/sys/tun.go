//go:build linux

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenTUN makes the network device called name in the network namespace of the
// calling thread: what is sent to it can be read from the file, one IP packet at
// a time, and what is written to the file is received by it. Device and
// namespace go when they are closed and left; see
// Documentation/networking/tuntap.rst. The caller closes the file.
func OpenTUN(name string) (*os.File, error) {
	const path = "/dev/net/tun"
	// The namespace is that of the thread which opens, drivers/net/tun.c.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = os.NewSyscallError("ioctl TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
