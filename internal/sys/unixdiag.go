//go:build linux

package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A UnixSocket is what the kernel tells of a local socket, unix_diag
// (include/uapi/linux/unix_diag.h).
type UnixSocket struct {
	// Peer is the inode of the socket that it is connected to, 0 for none.
	Peer uint64
	// Queued are, for a listening socket, the inodes of those that have
	// connected and were not accepted yet, oldest first.
	Queued []uint64
	// Shutdown has bit 0 set when nothing can be received any more, and bit 1
	// when nothing can be sent.
	Shutdown int
}

// A UnixDiag asks about local sockets of the network namespace that it was
// opened in. The caller closes it.
type UnixDiag struct{ fd FD }

// OpenUnixDiag makes a netlink socket for sock_diag(7).
func OpenUnixDiag() (UnixDiag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	return UnixDiag{FD(fd)}, os.NewSyscallError("socket", err)
}

// Close closes the netlink socket.
func (d UnixDiag) Close() error { return d.fd.Close() }

const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY

	udiagShowPeer  = 4
	udiagShowIcons = 8

	unixDiagPeer     = 2
	unixDiagIcons    = 3
	unixDiagShutdown = 6

	sizeofUnixDiagReq = 24
	sizeofUnixDiagMsg = 16
)

// Socket describes the socket with the given inode.
func (d UnixDiag) Socket(ino uint64) (s UnixSocket, err error) {
	ne := binary.NativeEndian
	req := make([]byte, unix.SizeofNlMsghdr+sizeofUnixDiagReq)
	ne.PutUint32(req, uint32(len(req)))
	ne.PutUint16(req[4:], sockDiagByFamily)
	ne.PutUint16(req[6:], unix.NLM_F_REQUEST)
	q := req[unix.SizeofNlMsghdr:]
	q[0] = unix.AF_UNIX
	ne.PutUint32(q[4:], ^uint32(0)) // udiag_states
	ne.PutUint32(q[8:], uint32(ino))
	ne.PutUint32(q[12:], udiagShowPeer|udiagShowIcons)
	ne.PutUint64(q[16:], ^uint64(0)) // any cookie
	if err := unix.Sendto(int(d.fd), req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return s, os.NewSyscallError("send sock_diag", err)
	}
	buf := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(int(d.fd), buf, 0)
	if err != nil {
		return s, os.NewSyscallError("receive sock_diag", err)
	}
	return parseUnixDiag(buf[:n])
}

func parseUnixDiag(b []byte) (s UnixSocket, err error) {
	ne := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr+4 {
		return s, errors.New("short answer of sock_diag")
	}
	typ, body := ne.Uint16(b[4:]), b[unix.SizeofNlMsghdr:]
	if typ == unix.NLMSG_ERROR {
		return s, os.NewSyscallError("sock_diag", unix.Errno(-int32(ne.Uint32(body))))
	}
	if typ != sockDiagByFamily || len(body) < sizeofUnixDiagMsg {
		return s, fmt.Errorf("sock_diag answers with type %d, %d bytes", typ, len(body))
	}
	for attrs := body[sizeofUnixDiagMsg:]; len(attrs) >= unix.SizeofNlAttr; {
		size := int(ne.Uint16(attrs))
		if size < unix.SizeofNlAttr || size > len(attrs) {
			return s, errors.New("cut attribute in an answer of sock_diag")
		}
		value := attrs[unix.SizeofNlAttr:size]
		switch {
		case ne.Uint16(attrs[2:]) == unixDiagPeer && len(value) >= 4:
			s.Peer = uint64(ne.Uint32(value))
		case ne.Uint16(attrs[2:]) == unixDiagIcons:
			for ; len(value) >= 4; value = value[4:] {
				s.Queued = append(s.Queued, uint64(ne.Uint32(value)))
			}
		case ne.Uint16(attrs[2:]) == unixDiagShutdown && len(value) >= 1:
			s.Shutdown = int(value[0])
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return s, nil
}
