//go:build linux

package kobj

import (
	"os"

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
	info   unix.TCPInfo
	lost   string // why the connection cannot go on in a world, or empty

	from sys.FD // a pidfd of the origin, which the Drain's user keeps open
	fd   int    // the descriptor there
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
	st := &streamState{inetState: in, from: src.PIDFD, fd: src.FD}
	return st, st.look(src.Dup)
}

// look reads the state of the connection behind dup.
func (st *streamState) look(dup sys.FD) (err error) {
	err = sys.TCPInfo(dup, &st.info)
	st.state = st.info.State
	return err
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
