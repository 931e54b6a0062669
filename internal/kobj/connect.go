//go:build linux

package kobj

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// Connections are made anew by connecting: both ends live in the world, so a
// socket bound to the client's old address dials the world's listener on the
// server's, and the four-tuple is what it was. No sequence number matters,
// since both ends forget the old ones together; what was on its way is written
// again. A connection to a peer outside is made the same way, and then reset.

type boundListener struct {
	fd    sys.FD
	local netip.AddrPort
}

type pairKey struct{ local, peer netip.AddrPort }

func streamsByAddress(all []*Description) map[pairKey]*Description {
	ends := map[pairKey]*Description{}
	for _, d := range all {
		if st, ok := d.State.(*streamState); ok && st.peer.IsValid() {
			ends[pairKey{st.local, st.peer}] = d
		}
	}
	return ends
}

// connect makes every connection of the snapshot.
func (w *World) connect(all []*Description) error {
	ends := streamsByAddress(all)
	var queued []*Description
	for _, d := range all {
		st, ok := d.State.(*streamState)
		if !ok || !st.peer.IsValid() || w.streams[d] != 0 || st.state == tcpSynSent {
			continue
		}
		other := ends[pairKey{st.peer, st.local}]
		var err error
		switch {
		case st.lost != "":
			w.Gap(d, st.lost)
			err = w.dead(d)
		case other != nil:
			err = w.pair(d, other)
		case st.state == tcpEstablished && w.listenerAt(st.peer) != nil:
			if n := st.info.Bytes_sent + uint64(st.info.Notsent_bytes); n > 0 {
				w.Gap(d, fmt.Sprintf("was not accepted yet and has %d bytes under way, which cannot be read: the connection is lost", n))
				err = w.dead(d)
				break
			}
			queued = append(queued, d) // not accepted yet
		default:
			err = w.dead(d)
		}
		if err != nil {
			return fmt.Errorf("connection %v to %v: %w", st.local, st.peer, err)
		}
	}
	// Last, since they would be accepted in the place of others.
	for _, d := range queued {
		st := d.State.(*streamState)
		fd, err := st.dial(st.local, st.peer)
		if err != nil {
			return fmt.Errorf("connection %v to %v: %w", st.local, st.peer, err)
		}
		if err := st.finish(fd, d); err != nil {
			return err
		}
		w.streams[d] = fd
	}
	return nil
}

func (w *World) listenerAt(addr netip.AddrPort) *boundListener {
	for i, l := range w.listeners {
		if l.local == addr || l.local.Port() == addr.Port() && l.local.Addr().IsUnspecified() {
			return &w.listeners[i]
		}
	}
	return nil
}

// pair makes both ends of a connection inside the cluster.
func (w *World) pair(a, b *Description) error {
	client, server := a, b
	if w.listenerAt(a.State.(*streamState).local) != nil {
		client, server = b, a
	}
	cs, ss := client.State.(*streamState), server.State.(*streamState)
	cfd, sfd, err := w.connection(cs, ss.local, cs.local)
	if err != nil {
		return err
	}
	w.streams[client], w.streams[server] = cfd, sfd
	if err := fill(cfd, append(ss.recv, cs.unsent...)); err != nil {
		return err
	}
	if err := fill(sfd, append(cs.recv, ss.unsent...)); err != nil {
		return err
	}
	for _, end := range []struct {
		st *streamState
		fd sys.FD
		d  *Description
	}{{cs, cfd, client}, {ss, sfd, server}} {
		switch end.st.state {
		case tcpFinWait1, tcpFinWait2, tcpClosing, tcpLastAck:
			if err := unix.Shutdown(int(end.fd), unix.SHUT_WR); err != nil {
				return os.NewSyscallError("shutdown", err)
			}
		}
		if err := end.st.finish(end.fd, end.d); err != nil {
			return err
		}
	}
	return nil
}

// dead makes the inner end of a connection whose outer end is gone.
func (w *World) dead(d *Description) error {
	st := d.State.(*streamState)
	var ours, far sys.FD
	var err error
	if w.listenerAt(st.local) != nil {
		peer := netip.AddrPort{}
		if st.peer.Addr().IsLoopback() && st.lost == "" { // both ends of a lost one are made
			peer = st.peer
		}
		far, ours, err = w.connection(st, st.local, peer)
	} else {
		// Any listener on our own address will do for the moment.
		target := inetState{domain: st.domain, proto: unix.IPPROTO_TCP, local: netip.AddrPortFrom(st.local.Addr(), 0)}
		ours, far, err = w.connection(st, target.local, st.local)
	}
	if err != nil {
		return err
	}
	w.streams[d] = ours
	defer far.Close()
	if err := fill(far, st.recv); err != nil {
		return err
	}
	if err := st.finish(ours, d); err != nil {
		return err
	}
	if st.state == tcpCloseWait || st.state == tcpLastAck {
		return nil // the peer had said goodbye; so does ours
	}
	return os.NewSyscallError("setsockopt so_linger",
		unix.SetsockoptLinger(int(far), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
}

// connection dials to from from and returns both ends. st tells the family. A
// target without a listener gets one for the moment.
func (w *World) connection(st *streamState, to, from netip.AddrPort) (client, server sys.FD, err error) {
	l := w.listenerAt(to)
	if l == nil || to.Port() == 0 {
		temp, err := tempListener(st.domain, to)
		if err != nil {
			return -1, -1, err
		}
		defer temp.fd.Close()
		l, to = &temp, temp.local
	}
	if client, err = st.dial(from, to); err != nil {
		return -1, -1, err
	}
	if server, err = l.accept(); err != nil {
		_ = client.Close()
		return -1, -1, err
	}
	return client, server, nil
}

func tempListener(domain int, at netip.AddrPort) (boundListener, error) {
	st := inetState{domain: domain}
	fd, err := st.socket(unix.SOCK_STREAM)
	if err == nil {
		err = bindTo(fd, domain, at)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(int(fd), 1))
	}
	if err != nil {
		return boundListener{}, err
	}
	sa, err := unix.Getsockname(int(fd))
	return boundListener{fd, addrPort(sa)}, os.NewSyscallError("getsockname", err)
}

// dial connects a new socket of st's family, bound to from when that is valid.
func (st *streamState) dial(from, to netip.AddrPort) (sys.FD, error) {
	plain := inetState{domain: st.domain, options: st.options} // MPTCP is for listeners: what they accept falls back
	fd, err := plain.socket(unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	if from.IsValid() {
		err = bindForced(fd, st.domain, from)
	}
	if err == nil {
		err = unix.Connect(int(fd), sockaddr(st.domain, to))
	}
	if err != nil {
		_ = fd.Close()
		return -1, fmt.Errorf("connect to %v: %w", to, err)
	}
	return fd, nil
}

// bindForced binds to a port that another connection may have, too: connect(2)
// gives a local port to several, to different peers, but bind(2) does so only while
// all of them have SO_REUSEADDR. Without the right to it that is tried. A socket in
// repair mode is not asked (SK_FORCE_REUSE, inet_csk_get_port).
func bindForced(fd sys.FD, domain int, at netip.AddrPort) error {
	repaired := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) == nil
	err := bindTo(fd, domain, at)
	if repaired && err == nil {
		err = os.NewSyscallError("setsockopt tcp_repair", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 0))
	}
	return err
}

// acceptTimeout is generous: over the loopback device a connection is ready at once.
const acceptTimeout = 1000 // milliseconds

func (l *boundListener) accept() (sys.FD, error) {
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, acceptTimeout)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, os.NewSyscallError("poll", err)
		}
		if n == 0 {
			return -1, fmt.Errorf("nothing to accept on %v", l.local)
		}
		break
	}
	fd, _, err := unix.Accept4(int(l.fd), unix.SOCK_CLOEXEC)
	return sys.FD(fd), os.NewSyscallError("accept4", err)
}

// fill writes data to one end, so that it waits at the other.
func fill(fd sys.FD, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if len(data) > 64<<10 {
		// Room for all of it, whatever the peer's window. The forced form
		// ignores net.core.wmem_max; without the right to it, try the other.
		size := 2 * len(data)
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size); err != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, size)
		}
	}
	for len(data) > 0 {
		n, err := unix.SendmsgN(int(fd), data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil {
			return fmt.Errorf("refill %d bytes: %w", len(data), err)
		}
		data = data[n:]
	}
	return nil
}

// Established lists the connections inside the cluster whose both ends were
// open, each end once.
func Established(all []*Description) (out [][2]netip.AddrPort) {
	ends := streamsByAddress(all)
	for key, d := range ends {
		other := ends[pairKey{key.peer, key.local}]
		if other != nil && d.State.(*streamState).state == tcpEstablished && other.State.(*streamState).state == tcpEstablished {
			out = append(out, [2]netip.AddrPort{key.local, key.peer})
		}
	}
	return out
}
