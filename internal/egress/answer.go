package egress

import (
	"encoding/binary"
	"net/netip"
)

// prohibited is the ICMP message by which a firewall answers p: communication
// administratively prohibited. connect(2) then fails with EHOSTUNREACH, and
// with EACCES over IPv6 (net/ipv4/icmp.c, net/ipv6/icmp.c). Its sender is the
// peer itself, since a local address as the source would be a martian.
func (p *packet) prohibited() []byte {
	if p.dst.Addr().Is4() {
		quote := p.raw[:min(len(p.raw), 576-28)] // RFC 1812, 4.3.2.3
		return build(p.dst, p.src, protoICMP, append([]byte{3, 13, 0, 0, 0, 0, 0, 0}, quote...))
	}
	quote := p.raw[:min(len(p.raw), 1280-48)] // RFC 4443, 3.1
	return build(p.dst, p.src, protoICMPv6, append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, quote...))
}

// reset is the TCP segment that refuses p, RFC 9293, 3.10.7.1.
func (p *packet) reset() []byte {
	b := make([]byte, 20)
	be := binary.BigEndian
	be.PutUint16(b, p.dst.Port())
	be.PutUint16(b[2:], p.src.Port())
	b[12], b[13] = 5<<4, flagRST
	if p.flags&flagACK != 0 {
		be.PutUint32(b[4:], p.ack)
	} else {
		next := p.seq + uint32(len(p.data))
		if p.flags&flagSYN != 0 {
			next++
		}
		if p.flags&flagFIN != 0 {
			next++
		}
		be.PutUint32(b[8:], next)
		b[13] |= flagACK
	}
	return build(p.dst, p.src, protoTCP, b)
}

// reply is a datagram back to the sender of p.
func (p *packet) reply(data []byte) []byte {
	b := make([]byte, 8, 8+len(data))
	be := binary.BigEndian
	be.PutUint16(b, p.dst.Port())
	be.PutUint16(b[2:], p.src.Port())
	be.PutUint16(b[4:], uint16(8+len(data)))
	return build(p.dst, p.src, protoUDP, append(b, data...))
}

// readdress changes the addresses and ports of the TCP segment p in its own
// bytes.
func (p *packet) readdress(src, dst netip.AddrPort) []byte {
	b := p.raw
	if dst.Addr().Is4() {
		copy(b[12:], src.Addr().AsSlice())
		copy(b[16:], dst.Addr().AsSlice())
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], sum(b[:p.at], 0))
	} else {
		copy(b[8:], src.Addr().AsSlice())
		copy(b[24:], dst.Addr().AsSlice())
	}
	binary.BigEndian.PutUint16(b[p.at:], src.Port())
	binary.BigEndian.PutUint16(b[p.at+2:], dst.Port())
	check(b[p.at:], src.Addr(), dst.Addr(), protoTCP)
	return b
}

// build makes a packet of a transport's header and data, with checksums.
func build(src, dst netip.AddrPort, proto byte, payload []byte) []byte {
	be := binary.BigEndian
	check(payload, src.Addr(), dst.Addr(), proto)
	if src.Addr().Is4() {
		b := make([]byte, 20, 20+len(payload))
		b[0], b[8], b[9] = 4<<4|5, 64, proto
		be.PutUint16(b[2:], uint16(20+len(payload)))
		copy(b[12:], src.Addr().AsSlice())
		copy(b[16:], dst.Addr().AsSlice())
		be.PutUint16(b[10:], sum(b, 0))
		return append(b, payload...)
	}
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 6<<4, proto, 64
	be.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], src.Addr().AsSlice())
	copy(b[24:], dst.Addr().AsSlice())
	return append(b, payload...)
}

// check puts the checksum into a transport's header.
func check(b []byte, src, dst netip.Addr, proto byte) {
	at := map[byte]int{protoTCP: 16, protoUDP: 6, protoICMP: 2, protoICMPv6: 2}[proto]
	b[at], b[at+1] = 0, 0
	pseudo := uint32(0)
	if proto != protoICMP { // which has no pseudo-header
		for _, a := range []netip.Addr{src, dst} {
			pseudo += uint32(^sum(a.AsSlice(), 0))
		}
		pseudo += uint32(proto) + uint32(len(b))
	}
	value := sum(b, pseudo)
	if proto == protoUDP && value == 0 {
		value = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(b[at:], value)
}

// sum is the Internet checksum of b, RFC 1071, begun with start.
func sum(b []byte, start uint32) uint16 {
	s := uint64(start)
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
