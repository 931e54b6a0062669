//go:build linux

package kobj

import (
	"fmt"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// A Known is a TCP connection that was read while its process ran. In the pause
// only what goes on changing is read again, at a fifth of the cost: there may be
// thousands of them.
//
// Programs set options and close-on-exec right after they made a socket. So a
// socket counts as known only when two looks at it, some time apart, agree.
type Known struct {
	ino         uint64
	link        string
	closeOnExec bool
	state       inetState
}

// Know reads the socket behind src, of which Link and Info need not be set. It
// returns nil when that is not an open TCP connection.
func Know(src *Source) *Known {
	if src.Stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil
	}
	src.Link = fmt.Sprintf("socket:[%d]", src.Stat.Ino)
	if (listener{}).Match(src) || !(stream{}).Match(src) {
		return nil
	}
	state, err := captureInet(src.Dup, tcpOptions)
	if err != nil || !state.peer.IsValid() || state.proto != unix.IPPROTO_TCP {
		return nil
	}
	info, err := procfs.ReadFDInfo(src.PID, src.FD)
	if err != nil {
		return nil
	}
	return &Known{src.Stat.Ino, src.Link, info.Flags&unix.O_CLOEXEC != 0, state}
}

// Agrees reports whether two looks at a descriptor saw the same.
func (k *Known) Agrees(earlier *Known) bool {
	return earlier != nil && k.ino == earlier.ino && k.closeOnExec == earlier.closeOnExec &&
		k.state.local == earlier.state.local && k.state.peer == earlier.state.peer &&
		slices.Equal(k.state.options, earlier.state.options)
}

// Changing are options that programs set again and again: around each message.
var changing = [][2]int{{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_CORK}, {unix.SOL_SOCKET, unix.SO_RCVLOWAT}}

// Fill sets Link and Info of src, when it is k still.
func (k *Known) Fill(src *Source) (bool, error) {
	if k == nil || k.ino != src.Stat.Ino || src.Stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false, nil
	}
	// A socket can be disconnected, and connected to another peer.
	sa, err := unix.Getpeername(int(src.Dup))
	if err != nil || addrPort(sa) != k.state.peer {
		return false, nil
	}
	flags, err := unix.FcntlInt(uintptr(src.Dup), unix.F_GETFL, 0)
	if err != nil {
		return false, os.NewSyscallError("fcntl getfl", err)
	}
	if k.closeOnExec {
		flags |= unix.O_CLOEXEC
	}
	src.Link, src.Info = k.link, procfs.FDInfo{Flags: flags, Ino: k.ino}
	return true, nil
}

// Capture is [Capture] for a source that Fill has filled. The state of the
// connection is for the [Drain] to read.
func (k *Known) Capture(src *Source) (*Description, error) {
	st := &streamState{inetState: k.state, from: src.PIDFD, fd: src.FD}
	for _, name := range changing {
		v, err := unix.GetsockoptInt(int(src.Dup), name[0], name[1])
		if err != nil {
			return nil, &Error{"capture", src.PID, src.FD, stream{}.Name(), os.NewSyscallError("getsockopt", err)}
		}
		now := option{name[0], name[1], v}
		at := slices.IndexFunc(st.options, func(o option) bool { return o.level == now.level && o.name == now.name })
		if at >= 0 && st.options[at] != now {
			st.options = slices.Clone(st.options)
			st.options[at] = now
		}
	}
	return &Description{
		Kind: stream{}, Flags: src.Info.Flags &^ unix.O_CLOEXEC, Holders: []Holder{src.holder()}, State: st,
	}, nil
}
