//go:build linux

package trace

import (
	"net/netip"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// An end is one end of a connection that is there when the world is released.
type end struct {
	inode                    uint64
	received, unread, unsent uint64
}

// look learns what the phantoms have: names of files, and what went over their
// connections before. They do not run yet.
func (r *Recording) look() error {
	ends := map[pair]end{} // local and peer
	var listeners []netip.AddrPort
	for _, ph := range r.w.Phantoms {
		r.members[ph.PID] = ph.Member
		r.alive[ph.HostPID] = true
		status, err := procfs.ReadStatus(ph.HostPID)
		if err != nil {
			return err
		}
		if n := len(status.NSpid); n > 0 {
			r.pids[status.NSpid[n-1]] = ph.PID
		}
		_ = r.cwd(ph.HostPID)
		r.goroutines(ph.HostPID)
		listening, err := connections(ph.HostPID, ends)
		if err != nil {
			return err
		}
		listeners = append(listeners, listening...)
	}
	for at, e := range ends {
		there := ends[pair{at.server, at.client}]
		base := [2]uint64{there.received + e.unsent, e.received - min(e.received, e.unread)}
		if err := r.t.maps.bases.Put(e.inode, base); err != nil {
			return err
		}
		for _, l := range listeners {
			if l.Port() == at.server.Port() && (l.Addr() == at.server.Addr() || l.Addr().IsUnspecified()) {
				r.clients[at] = true
			}
		}
	}
	return nil
}

// connections adds the TCP connections of a process to ends, and returns on what
// it listens.
func connections(hostPID int, ends map[pair]end) (listeners []netip.AddrPort, err error) {
	fds, err := procfs.FDs(hostPID)
	if err != nil {
		return nil, err
	}
	pidfd, err := sys.PidfdOpen(hostPID)
	if err != nil {
		return nil, err
	}
	defer pidfd.Close()
	for _, n := range fds {
		link, err := procfs.FDLink(hostPID, n)
		if err != nil || !strings.HasPrefix(link, "socket:[") {
			continue
		}
		inode, err := procfs.ParseNamespace(link)
		if err != nil {
			return nil, err
		}
		fd, err := sys.PidfdGetFD(pidfd, n)
		if err != nil {
			return nil, err
		}
		at, e, listens, ok := inspect(int(fd))
		_ = fd.Close()
		switch {
		case listens:
			listeners = append(listeners, at.client)
		case ok:
			e.inode = inode
			ends[at] = e
		}
	}
	return listeners, nil
}

// inspect asks a socket. ok is false for what is no TCP connection.
func inspect(fd int) (at pair, e end, listens, ok bool) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		return at, e, false, false
	}
	local, err := unix.Getsockname(fd)
	if at.client = address(local); err != nil || !at.client.IsValid() {
		return at, e, false, false
	}
	if accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && accepts != 0 {
		return at, e, true, false
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return at, e, false, false
	}
	at.server = address(peer)
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return at, e, false, false
	}
	unread, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return at, e, false, false
	}
	e.received, e.unread, e.unsent = info.Bytes_received, uint64(unread), uint64(info.Notsent_bytes)
	switch info.State {
	case tcpCloseWait, tcpLastAck, tcpClose:
		if e.received > 0 { // it counts the end as well
			e.received--
		}
	}
	return at, e, false, true
}

func address(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
