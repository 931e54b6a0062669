//go:build linux

package kobj

import (
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// datagram is a UDP socket. Datagrams that were not read yet are lost, as the
// network may lose them.
type datagram struct{}

func (datagram) Name() string { return "udp" }

func (datagram) Match(src *Source) bool { return src.inetType() == unix.SOCK_DGRAM }

// inetType returns the type of an IPv4 or IPv6 socket, 0 for others.
func (src *Source) inetType() int {
	if d := src.domain(); d != unix.AF_INET && d != unix.AF_INET6 {
		return 0
	}
	typ, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0
	}
	return typ
}

func (datagram) Capture(src *Source) (any, error) { return captureInet(src.Dup) }

func (datagram) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(inetState)
	fd, err := st.socket(unix.SOCK_DGRAM)
	if err != nil {
		return -1, err
	}
	if st.local.Port() != 0 {
		err = bindTo(fd, st.domain, st.local)
	}
	if err == nil && st.peer.IsValid() {
		if cerr := unix.Connect(int(fd), sockaddr(st.domain, st.peer)); cerr != nil {
			w.Gap(d, os.NewSyscallError("connect to "+st.peer.String(), cerr).Error())
		}
	}
	if err == nil {
		err = setOptions(fd, st.options)
	}
	if err == nil {
		err = setStatus(fd, d)
	}
	if err != nil {
		_ = fd.Close()
		return -1, err
	}
	return fd, nil
}
