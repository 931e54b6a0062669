//go:build linux

package kobj

import (
	"fmt"
	"os"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// listener is a TCP or MPTCP socket that accepts connections.
type listener struct{}

// stream is any other TCP or MPTCP socket. See connect.go for how connections
// are made anew.
type stream struct{}

type listenerState struct {
	inetState
	backlog int
}

type streamState struct {
	inetState
	state  uint8 // TCP_ESTABLISHED and so on, include/net/tcp_states.h
	recv   []byte
	unsent []byte // written by the origin, not yet with its peer
	info   *unix.TCPInfo
	dup    sys.FD // kept only until Drain
	lost   string // why the connection cannot go on in a world, or empty
}

// TCP states, include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

func (listener) Name() string { return "tcp listener" }

func (listener) Match(src *Source) bool {
	if src.inetType() != unix.SOCK_STREAM {
		return false
	}
	n, err := unix.GetsockoptInt(int(src.Dup), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && n != 0
}

func (listener) Capture(src *Source) (any, error) {
	in, err := captureInet(src.Dup, tcpOptions)
	st := listenerState{inetState: in, backlog: 4096}
	if info, err := unix.GetsockoptTCPInfo(int(src.Dup), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.Sacked > 0 {
		st.backlog = int(info.Sacked) // a listener shows its backlog there, tcp_get_info
	}
	return st, err
}

func (listener) Restore(w *World, d *Description) (sys.FD, error) {
	st := d.State.(listenerState)
	fd, err := st.socket(unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	if err = bindTo(fd, st.domain, st.local); err == nil {
		err = os.NewSyscallError("listen", unix.Listen(int(fd), st.backlog))
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
	w.listeners = append(w.listeners, boundListener{fd, st.local})
	return fd, nil
}

func (stream) Name() string { return "tcp" }

func (stream) Match(src *Source) bool {
	return src.inetType() == unix.SOCK_STREAM && src.protocol() == ""
}

// protocol names what is layered on a TCP socket, such as "tls"; normally nothing.
func (src *Source) protocol() string {
	name, err := unix.GetsockoptString(int(src.Dup), unix.IPPROTO_TCP, unix.TCP_ULP)
	if err != nil || name == "mptcp" {
		return ""
	}
	return name
}

func (stream) Capture(src *Source) (any, error) {
	in, err := captureInet(src.Dup, tcpOptions)
	if err != nil {
		return nil, err
	}
	st := &streamState{inetState: in, dup: -1}
	if st.info, err = unix.GetsockoptTCPInfo(int(src.Dup), unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
		return nil, os.NewSyscallError("getsockopt tcp_info", err)
	}
	st.state = st.info.State
	if st.peer.IsValid() {
		dup, err := unix.FcntlInt(uintptr(src.Dup), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, os.NewSyscallError("fcntl dupfd", err)
		}
		st.dup = sys.FD(dup)
	}
	return st, nil
}

// peekStream copies the bytes that wait to be read and leaves them there.
func peekStream(fd sys.FD) ([]byte, error) {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil || n == 0 {
		return nil, os.NewSyscallError("ioctl fionread", err)
	}
	buf := make([]byte, n)
	got, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		return nil, nil // only the end of the stream
	}
	if err != nil {
		return nil, os.NewSyscallError("recv peek", err)
	}
	return buf[:got], nil
}

// Restore is reached only for sockets that connect did not make: those without
// a peer.
func (stream) Restore(w *World, d *Description) (sys.FD, error) {
	if fd, ok := w.streams[d]; ok {
		return fd, nil
	}
	st := d.State.(*streamState)
	fd, err := st.socket(unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	if st.local.Port() != 0 && st.state == tcpClose {
		// The address of a closed connection may be taken by now: it matters
		// to nobody any more.
		_ = bindTo(fd, st.domain, st.local)
	}
	if err := st.finish(fd, d); err != nil {
		_ = fd.Close()
		return -1, err
	}
	if st.state == tcpSynSent && st.peer.IsValid() {
		_ = unix.SetNonblock(int(fd), true)
		_ = unix.Connect(int(fd), sockaddr(st.domain, st.peer))
		err = setStatus(fd, d)
	}
	return fd, err
}

// finish gives a new socket the options and flags of the old one.
func (st *streamState) finish(fd sys.FD, d *Description) error {
	if err := setOptions(fd, st.options); err != nil {
		return err
	}
	return setStatus(fd, d)
}

// drainTime bounds the wait for bytes between two stopped members. The kernel
// delivers them without the members' help, in microseconds unless the
// processor is busy with something else.
const drainTime = 5 * time.Millisecond

// Drain completes the capture of connections when every member is stopped: it
// waits until nothing is on the wire, then reads the receive queues, and from
// the sender's queue what its peer has no room for. It must run before
// production is released, and closes our duplicates.
func Drain(all []*Description) (inside, outside int, err error) {
	ends := streamsByAddress(all)
	deadline := time.Now().Add(drainTime)
	for _, d := range all {
		st, ok := d.State.(*streamState)
		if !ok || st.dup < 0 {
			continue
		}
		other, paired := ends[pairKey{st.peer, st.local}]
		if paired {
			inside++
		} else {
			outside++
		}
		if err != nil {
			continue
		}
		switch {
		case !paired && st.proto == unix.IPPROTO_MPTCP:
			_, err = st.ended()
		case paired && st.proto == unix.IPPROTO_MPTCP:
			err = st.settleMultipath(other.State.(*streamState), deadline)
		case paired:
			err = st.settle(other.State.(*streamState), deadline)
		}
		if err == nil {
			st.recv, err = peekStream(st.dup)
		}
	}
	for _, d := range all {
		if st, ok := d.State.(*streamState); ok && st.dup >= 0 {
			_ = st.dup.Close()
			st.dup = -1
		}
	}
	return inside / 2, outside, err
}

// settle waits until st has received all that its peer has put on the wire.
// What the peer could not send, for want of room here, is read from its queue.
func (st *streamState) settle(peer *streamState, deadline time.Time) error {
	for {
		for _, end := range []*streamState{peer, st} {
			info, err := unix.GetsockoptTCPInfo(int(end.dup), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				return os.NewSyscallError("getsockopt tcp_info", err)
			}
			end.info, end.state = info, info.State
		}
		// Both counters are of the stream's payload. Bytes sent twice were
		// received once.
		flying := int64(peer.info.Bytes_sent) - int64(peer.info.Bytes_retrans) - int64(st.info.Bytes_received)
		if flying <= 0 && peer.info.Notsent_bytes == 0 {
			return nil
		}
		if flying > 0 && time.Now().Before(deadline) {
			continue
		}
		return peer.takeUnsent(int64(peer.info.Notsent_bytes) + max(0, flying))
	}
}

// settleMultipath is settle for MPTCP, whose counters are of the first path and
// not of the stream. Its send queue cannot be read, so that a connection with
// bytes that the peer has no room for is lost.
func (st *streamState) settleMultipath(peer *streamState, deadline time.Time) error {
	for {
		written, _, err := sys.MultipathSequence(peer.dup)
		if err != nil {
			return err
		}
		_, received, err := sys.MultipathSequence(st.dup)
		if err != nil {
			return err
		}
		if written == received {
			break
		}
		if time.Now().After(deadline) {
			st.lost = fmt.Sprintf("%d bytes are in an MPTCP send queue, which cannot be read: the connection is lost", written-received)
			peer.lost = st.lost
			return nil
		}
	}
	over, err := st.ended()
	if over && peer.state == tcpEstablished {
		peer.state = tcpFinWait2
	}
	return err
}

// ended reports whether the peer sends no more. MPTCP shows no state but this.
func (st *streamState) ended() (bool, error) {
	events, err := pollNow(st.dup, unix.POLLRDHUP)
	if err != nil {
		return false, err
	}
	over := events&unix.POLLRDHUP != 0
	if over && st.state == tcpEstablished {
		st.state = tcpCloseWait
	} else if over && st.state == tcpFinWait2 {
		st.state = tcpClosing
	}
	return over, nil
}

// takeUnsent reads the last n bytes of the send queue.
func (st *streamState) takeUnsent(n int64) error {
	queue, err := peekSendQueue(st.dup)
	if err != nil {
		return fmt.Errorf("send queue %v to %v: %w", st.local, st.peer, err)
	}
	if int64(len(queue)) < n {
		return fmt.Errorf("send queue %v to %v holds %d of %d missing bytes", st.local, st.peer, len(queue), n)
	}
	st.unsent = queue[int64(len(queue))-n:]
	return nil
}

// peekSendQueue copies what a socket has not been told to be received. Both
// ends must be stopped: an acknowledgement that arrives while the socket is in
// repair mode would lose a transmission (tcp_write_xmit, tcp_repair). Leaving
// repair mode clears SO_REUSEADDR, which is put back.
func peekSendQueue(fd sys.FD) (data []byte, err error) {
	const sendQueue, noQueue, offNoWindowProbe = 2, 0, -1
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	if err != nil || n == 0 {
		return nil, os.NewSyscallError("ioctl siocoutq", err)
	}
	reuse, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt so_reuseaddr", err)
	}
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt tcp_repair", err)
	}
	defer func() {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, noQueue)
		if rerr := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, offNoWindowProbe); rerr != nil && err == nil {
			err = os.NewSyscallError("setsockopt tcp_repair off", rerr)
		}
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse)
	}()
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, sendQueue); err != nil {
		return nil, os.NewSyscallError("setsockopt tcp_repair_queue", err)
	}
	data = make([]byte, n)
	got, _, err := unix.Recvfrom(int(fd), data, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, os.NewSyscallError("recv peek send queue", err)
	}
	return data[:got], nil
}
