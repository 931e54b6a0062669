//go:build linux

package victim

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// routes asks the kernel for its links over a netlink socket.
func routes(string) (step, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	// No group that other tests' links could send to.
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_NEIGH - 1)}); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	port := sa.(*unix.SockaddrNetlink).Pid
	n := uint32(0)
	return func() (string, error) {
		n++
		req := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
		ne := binary.NativeEndian
		ne.PutUint32(req, uint32(len(req)))
		ne.PutUint16(req[4:], unix.RTM_GETLINK)
		ne.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		ne.PutUint32(req[8:], n)
		if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return "", err
		}
		links := 0
		for done := false; !done; {
			buf := make([]byte, 32<<10)
			got, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return "", fmt.Errorf("receive: %w", err)
			}
			msgs, err := syscall.ParseNetlinkMessage(buf[:got])
			if err != nil {
				return "", err
			}
			for _, m := range msgs {
				if m.Header.Seq != n || m.Header.Pid != port {
					return "", fmt.Errorf("answer %+v to request %d of port %d", m.Header, n, port)
				}
				links++
				done = done || m.Header.Type == unix.NLMSG_DONE
			}
		}
		sa, err := unix.Getsockname(fd)
		if err == nil && (links < 2 || sa.(*unix.SockaddrNetlink).Groups != 1<<(unix.RTNLGRP_NEIGH-1)) {
			err = fmt.Errorf("%d links, socket %+v", links, sa)
		}
		return "", err
	}, err
}
