//go:build linux

package kobj

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// An option is one socket option with its integer value.
type option struct{ level, name, value int }

// The options that are carried over. Buffer sizes are not: setting them would
// end the kernel's own tuning.
var (
	socketOptions = [][2]int{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.SOL_SOCKET, unix.SO_BROADCAST},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE}, {unix.SOL_SOCKET, unix.SO_PRIORITY},
		{unix.SOL_SOCKET, unix.SO_RCVLOWAT}, {unix.SOL_SOCKET, unix.SO_PASSCRED},
	}
	tcpOptions = [][2]int{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}, {unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
		{unix.IPPROTO_TCP, unix.TCP_CORK}, {unix.IPPROTO_TCP, unix.TCP_LINGER2},
	}
	ip4Options = [][2]int{{unix.IPPROTO_IP, unix.IP_TOS}, {unix.IPPROTO_IP, unix.IP_TTL}}
	ip6Options = [][2]int{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, {unix.IPPROTO_IPV6, unix.IPV6_TCLASS}}
)

// getOptions reads the options of a socket; those that it does not have are left out.
func getOptions(fd sys.FD, sets ...[][2]int) (out []option) {
	for _, set := range sets {
		for _, o := range set {
			if v, err := unix.GetsockoptInt(int(fd), o[0], o[1]); err == nil {
				out = append(out, option{o[0], o[1], v})
			}
		}
	}
	return out
}

// setOptions sets what differs from the present value.
func setOptions(fd sys.FD, options []option) error {
	for _, o := range options {
		if o.level == unix.IPPROTO_IPV6 && o.name == unix.IPV6_V6ONLY {
			continue // fixed by bind, see socket
		}
		if now, err := unix.GetsockoptInt(int(fd), o.level, o.name); err == nil && now == o.value {
			continue
		}
		if err := unix.SetsockoptInt(int(fd), o.level, o.name, o.value); err != nil {
			return fmt.Errorf("setsockopt %d/%d to %d: %w", o.level, o.name, o.value, err)
		}
	}
	return nil
}

// addrPort turns a socket address into its plain form, v4-mapped ones into v4.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// sockaddr is the reverse, for a socket of the given family.
func sockaddr(domain int, ap netip.AddrPort) unix.Sockaddr {
	if domain == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().Unmap().As4()}
	}
	addr := ap.Addr()
	if addr == netip.IPv4Unspecified() {
		addr = netip.IPv6Unspecified()
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: addr.As16()}
}

// inetState is what TCP and UDP sockets have in common.
type inetState struct {
	domain, proto int
	local, peer   netip.AddrPort // peer is invalid when not connected
	options       []option
}

func captureInet(fd sys.FD, sets ...[][2]int) (st inetState, err error) {
	if st.domain, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return st, os.NewSyscallError("getsockopt so_domain", err)
	}
	if st.proto, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil {
		return st, os.NewSyscallError("getsockopt so_protocol", err)
	}
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return st, os.NewSyscallError("getsockname", err)
	}
	st.local = addrPort(sa)
	if sa, err := unix.Getpeername(int(fd)); err == nil {
		st.peer = addrPort(sa)
	}
	family := ip4Options
	if st.domain == unix.AF_INET6 {
		family = ip6Options
	}
	st.options = getOptions(fd, append(sets, socketOptions, family)...)
	return st, nil
}

// socket makes a socket of st's type that may be bound beside others.
func (st inetState) socket(typ int) (sys.FD, error) {
	fd, err := unix.Socket(st.domain, typ|unix.SOCK_CLOEXEC, st.proto)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, o := range st.options {
		// This one must be set before bind.
		if o.level == unix.IPPROTO_IPV6 && o.name == unix.IPV6_V6ONLY {
			_ = unix.SetsockoptInt(fd, o.level, o.name, o.value)
		}
		if o.level == unix.SOL_SOCKET && o.name == unix.SO_REUSEPORT && o.value != 0 {
			_ = unix.SetsockoptInt(fd, o.level, o.name, o.value)
		}
	}
	return sys.FD(fd), os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
}

func bindTo(fd sys.FD, domain int, ap netip.AddrPort) error {
	if err := unix.Bind(int(fd), sockaddr(domain, ap)); err != nil {
		return fmt.Errorf("bind %v: %w", ap, err)
	}
	return nil
}
