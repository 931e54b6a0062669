//go:build linux

package kobj

import (
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// netlink is a socket to the kernel's routing tables, netlink(7). The world's
// network namespace answers.
type netlink struct{}

type netlinkState struct {
	proto  int
	typ    int
	pid    uint32
	groups uint32
}

func (netlink) Name() string { return "netlink" }

func (netlink) Match(src *Source) bool {
	if src.domain() != unix.AF_NETLINK {
		return false
	}
	// The others, such as audit and connector, speak of the whole host.
	proto, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && proto == unix.NETLINK_ROUTE
}

// domain returns the socket's address family, 0 for what is not a socket.
func (src *Source) domain() int {
	if !strings.HasPrefix(src.Link, "socket:") {
		return 0
	}
	n, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0
	}
	return n
}

func (netlink) Capture(src *Source) (any, error) {
	var st netlinkState
	var err error
	if st.proto, err = unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil {
		return nil, err
	}
	if st.typ, err = unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(int(src.Dup))
	if nl, ok := sa.(*unix.SockaddrNetlink); ok {
		st.pid, st.groups = nl.Pid, nl.Groups
	}
	return st, err
}

func (netlink) Restore(_ *World, d *Description) (sys.FD, error) {
	st := d.State.(netlinkState)
	fd, err := unix.Socket(unix.AF_NETLINK, st.typ|unix.SOCK_CLOEXEC|d.Flags&unix.O_NONBLOCK, st.proto)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: st.pid, Groups: st.groups}); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return sys.FD(fd), nil
}
