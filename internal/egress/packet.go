package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Numbers of protocols, include/uapi/linux/in.h.
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// Flags of a TCP segment, RFC 9293.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// A packet is an IP packet, taken apart as far as is needed to tell who sends
// what to whom.
type packet struct {
	raw      []byte
	src, dst netip.AddrPort // port 0 where the protocol has none
	proto    byte
	at       int    // where the transport's header starts in raw
	data     []byte // behind the transport's header
	flags    byte   // of TCP
	seq, ack uint32 // of TCP
	kind     byte   // of ICMP: its type
	rest     bool   // a fragment, but not the first: without ports
}

// parse takes raw apart, and reports whether it is whole. It keeps raw.
func parse(raw []byte) (p packet, ok bool) {
	if len(raw) == 0 {
		return p, false
	}
	p.raw = raw
	switch raw[0] >> 4 {
	case 4:
		ok = p.parse4()
	case 6:
		ok = p.parse6()
	}
	if !ok || p.rest {
		return p, ok
	}
	return p, p.parseTransport()
}

// parse4 reads the header of RFC 791.
func (p *packet) parse4() bool {
	b := p.raw
	if len(b) < 20 {
		return false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header || total > len(b) {
		return false
	}
	p.raw = b[:total]
	p.rest = binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	p.proto, p.at = b[9], header
	p.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), 0)
	return true
}

// Extension headers, RFC 8200.
const (
	headerHops     = 0
	headerRouting  = 43
	headerFragment = 44
	headerAuth     = 51
	headerOptions  = 60
)

// parse6 reads the header of RFC 8200 and those that extend it.
func (p *packet) parse6() bool {
	b := p.raw
	if len(b) < 40 {
		return false
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return false
	}
	b = b[:total]
	p.raw, p.proto, p.at = b, b[6], 40
	p.src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:])), 0)
	for {
		size := 0
		switch p.proto {
		case headerHops, headerRouting, headerOptions:
			size = 8
		case headerFragment, headerAuth:
			size = 8
		default:
			return true
		}
		if len(b) < p.at+size {
			return false
		}
		switch p.proto {
		case headerFragment:
			p.rest = p.rest || binary.BigEndian.Uint16(b[p.at+2:])&0xfff8 != 0
		case headerAuth:
			size = (int(b[p.at+1]) + 2) * 4
		default:
			size = (int(b[p.at+1]) + 1) * 8
		}
		p.proto = b[p.at]
		p.at += size
		if p.at > len(b) {
			return false
		}
		if p.rest {
			return true
		}
	}
}

// parseTransport reads ports and flags. An unknown protocol has none.
func (p *packet) parseTransport() bool {
	b := p.raw[p.at:]
	be := binary.BigEndian
	switch p.proto {
	case protoTCP:
		if len(b) < 20 {
			return false
		}
		header := int(b[12]>>4) * 4
		if header < 20 || header > len(b) {
			return false
		}
		p.flags, p.seq, p.ack, p.data = b[13], be.Uint32(b[4:]), be.Uint32(b[8:]), b[header:]
	case protoUDP:
		if len(b) < 8 {
			return false
		}
		// A datagram that will be continued by fragments is longer than b.
		p.data = b[8:]
	case protoSCTP:
		if len(b) < 12 {
			return false
		}
	case protoICMP, protoICMPv6:
		if len(b) < 8 {
			return false
		}
		p.kind = b[0]
		if p.echo() { // its identifier is the port of a ping socket, icmp(7)
			p.src = netip.AddrPortFrom(p.src.Addr(), be.Uint16(b[4:]))
		}
		return true
	default:
		return true
	}
	p.src = netip.AddrPortFrom(p.src.Addr(), be.Uint16(b))
	p.dst = netip.AddrPortFrom(p.dst.Addr(), be.Uint16(b[2:]))
	return true
}

// echo reports whether p asks for an answer, as ping does.
func (p *packet) echo() bool {
	return p.proto == protoICMP && p.kind == 8 || p.proto == protoICMPv6 && p.kind == 128
}

// opens reports whether p begins a TCP connection.
func (p *packet) opens() bool {
	return p.proto == protoTCP && p.flags&(flagSYN|flagACK|flagRST) == flagSYN
}

// many reports whether p is for a group, to which nobody answers with errors
// (RFC 1122, 3.2.2).
func (p *packet) many() bool {
	a := p.dst.Addr()
	return a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// housekeeping reports whether p is of the kernel's own making: group
// memberships, neighbours and routers, RFC 3376, 3810 and 4861. No process
// reaches anybody by these.
func (p *packet) housekeeping() bool {
	switch p.proto {
	case protoIGMP:
		return true
	case protoICMPv6:
		return p.kind >= 130 && p.kind <= 137 || p.kind == 143
	}
	return false
}

// target is how p's peer is shown: "tcp 10.0.0.7:443".
func (p *packet) target() string {
	host := p.dst.Addr().String()
	if p.dst.Addr().Is6() && p.dst.Port() != 0 {
		host = "[" + host + "]"
	}
	return p.targetAt(host)
}

// targetAt is target with another name for the address.
func (p *packet) targetAt(host string) string {
	name := map[byte]string{protoTCP: "tcp", protoUDP: "udp", protoICMP: "icmp", protoICMPv6: "icmp6", protoSCTP: "sctp"}[p.proto]
	if name == "" {
		name = fmt.Sprintf("ip protocol %d", p.proto)
	}
	if p.dst.Port() == 0 {
		return name + " " + host
	}
	return fmt.Sprintf("%s %s:%d", name, host, p.dst.Port())
}
