package procfs

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// An InetSocket is a TCP or UDP socket as /proc/PID/net shows it,
// proc_pid_net(5). All sockets of the process's network namespace are shown.
type InetSocket struct {
	// Local and Remote keep the form of the socket: an IPv4 address of an IPv6
	// socket is a mapped one, see [netip.Addr.Unmap]. Zones are not shown.
	Local, Remote netip.AddrPort
	State         TCPState // of a UDP socket: established when connected, else closed
	TxQueue       uint32
	RxQueue       uint32 // of a listener: connections not yet accepted
	UID           int
	Inode         uint64 // 0 in the states time-wait and new-syn-recv
}

// A TCPState is a state of net/tcp_states.h.
type TCPState uint8

// The states, in the kernel's numbers.
const (
	Established TCPState = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv
)

// NetTCP reads /proc/PID/net/tcp and tcp6. The second is empty on a kernel
// without IPv6. It takes time in proportion to the size of the kernel's hash
// table; inet_diag is faster where many are to be asked.
func NetTCP(pid int) ([]InetSocket, error) { return inet(pid, "net/tcp", "net/tcp6") }

// NetUDP reads /proc/PID/net/udp and udp6.
func NetUDP(pid int) ([]InetSocket, error) { return inet(pid, "net/udp", "net/udp6") }

// NetRaw reads /proc/PID/net/raw and raw6. The local port is the number of the
// protocol, which is 255 for a socket that sends any.
func NetRaw(pid int) ([]InetSocket, error) { return inet(pid, "net/raw", "net/raw6") }

// NetPing reads /proc/PID/net/icmp and icmp6: ping sockets, icmp(7). The local
// port is the identifier of their echo requests.
func NetPing(pid int) ([]InetSocket, error) { return inet(pid, "net/icmp", "net/icmp6") }

func inet(pid int, v4, v6 string) ([]InetSocket, error) {
	all, err := parsed(path(pid, v4), ParseInet)
	if err != nil {
		return nil, err
	}
	more, err := parsed(path(pid, v6), ParseInet)
	if err != nil && !missing(err) {
		return nil, err
	}
	return append(all, more...), nil
}

// ParseInet parses the content of one of /proc/net/{tcp,tcp6,udp,udp6}.
func ParseInet(text []byte) (out []InetSocket, err error) {
	header := true
	for row := range lines(text) {
		if header {
			header = false
			continue
		}
		l := line{rest: row}
		s := parseInet(&l)
		if l.bad {
			return nil, malformed("net", row)
		}
		out = append(out, s)
	}
	return out, nil
}

// parseInet parses a row.
//
//	0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1617 1 ...
func parseInet(l *line) (s InetSocket) {
	l.upTo(':') // a number of no meaning
	s.Local, s.Remote = l.endpoint(), l.endpoint()
	s.State = TCPState(l.uint(16, 8))
	queues := line{rest: l.word()}
	s.TxQueue = uint32(queues.number(queues.upTo(':'), 16, 32))
	s.RxQueue = uint32(queues.uint(16, 32))
	l.expect(!queues.bad)
	l.word() // timer
	l.word() // retransmissions
	s.UID = int(l.uint(10, 32))
	l.word() // timeout
	s.Inode = l.uint(10, 64)
	return s
}

// endpoint reads ADDRESS:PORT. The address is shown in words of 32 bits, each
// a number in the byte order of the machine; all that pilot runs on are little
// endian.
func (l *line) endpoint() netip.AddrPort {
	word := line{rest: l.word()}
	digits := word.upTo(':')
	port := uint16(word.uint(16, 16))
	var raw [16]byte
	n, err := hex.Decode(raw[:], digits[:min(len(digits), 2*len(raw))])
	l.expect(!word.bad && err == nil && 2*n == len(digits) && (n == 4 || n == 16))
	if l.bad {
		return netip.AddrPort{}
	}
	for i := 0; i < n; i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	if n == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(raw), port)
}
