package egress

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	here4  = netip.MustParseAddrPort("192.168.1.5:40000")
	there4 = netip.MustParseAddrPort("10.0.0.7:443")
	here6  = netip.MustParseAddrPort("[2001:db8::5]:40000")
	there6 = netip.MustParseAddrPort("[2001:db8:1::7]:443")
)

func segment(src, dst netip.AddrPort, flags byte, seq uint32, data string) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	b[12], b[13] = 5<<4, flags
	return build(src, dst, protoTCP, append(b, data...))
}

func datagram(src, dst netip.AddrPort, data string) []byte {
	p := packet{src: dst, dst: src}
	return p.reply([]byte(data))
}

// intact fails t when b is not a packet with correct checksums.
func intact(t *testing.T, b []byte) packet {
	t.Helper()
	p, ok := parse(bytes.Clone(b))
	if !ok {
		t.Fatalf("no packet: %x", b)
	}
	if p.dst.Addr().Is4() && sum(b[:p.at], 0) != 0 {
		t.Errorf("wrong checksum of the header: %x", b)
	}
	pseudo := uint32(0)
	if p.proto != protoICMP {
		for _, a := range []netip.Addr{p.src.Addr(), p.dst.Addr()} {
			pseudo += uint32(^sum(a.AsSlice(), 0))
		}
		pseudo += uint32(p.proto) + uint32(len(b)-p.at)
	}
	if sum(b[p.at:], pseudo) != 0 {
		t.Errorf("wrong checksum of the transport: %x", b)
	}
	return p
}

// TestChecksum has the example of RFC 1071 and a header off the wire.
func TestChecksum(t *testing.T) {
	if got := sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0); got != ^uint16(0xddf2) {
		t.Errorf("got %#x", got)
	}
	header := []byte{0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7}
	if got := sum(header, 0); got != 0xb861 {
		t.Errorf("got %#x", got)
	}
	if got := sum([]byte{0xff}, 0); got != 0x00ff {
		t.Errorf("an odd byte: %#x", got)
	}
}

func TestParseSYN(t *testing.T) {
	for _, c := range [][2]netip.AddrPort{{here4, there4}, {here6, there6}} {
		p := intact(t, segment(c[0], c[1], flagSYN, 7, ""))
		if p.src != c[0] || p.dst != c[1] || !p.opens() || p.seq != 7 || p.many() {
			t.Errorf("got %+v", p)
		}
		r := intact(t, p.reset())
		if r.src != c[1] || r.dst != c[0] || r.flags != flagRST|flagACK || r.ack != 8 {
			t.Errorf("reset is %+v", r)
		}
		e := intact(t, p.prohibited())
		quoted, ok := parse(e.raw[e.at+8:])
		if !ok || quoted.src != c[0] || quoted.seq != 7 || e.dst.Addr() != c[0].Addr() {
			t.Errorf("the error quotes %+v", quoted)
		}
	}
	p := intact(t, segment(here4, there4, flagACK|flagPSH, 7, "data"))
	p.ack = 99
	if r := intact(t, p.reset()); r.flags != flagRST || r.seq != 99 || p.opens() {
		t.Errorf("reset is %+v", r)
	}
}

func TestReaddress(t *testing.T) {
	for _, c := range [][4]netip.AddrPort{
		{here4, there4, netip.MustParseAddrPort("198.18.0.2:1024"), netip.MustParseAddrPort("198.18.0.1:33333")},
		{here6, there6, netip.MustParseAddrPort("[fd00::2]:1024"), netip.MustParseAddrPort("[fd00::1]:33333")},
	} {
		p := intact(t, segment(c[0], c[1], flagACK, 1, "odd"))
		q := intact(t, p.readdress(c[2], c[3]))
		if q.src != c[2] || q.dst != c[3] || string(q.data) != "odd" {
			t.Errorf("got %+v", q)
		}
	}
}

func TestReply(t *testing.T) {
	p := intact(t, datagram(here6, there6, "question"))
	r := intact(t, p.reply([]byte("answer")))
	if string(p.data) != "question" || string(r.data) != "answer" || r.dst != here6 || r.src != there6 {
		t.Errorf("%+v, then %+v", p, r)
	}
}

func TestParseICMP(t *testing.T) {
	echo := build(here4, there4, protoICMP, []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1})
	if p := intact(t, echo); !p.echo() || p.src.Port() != 0x1234 || p.dst.Port() != 0 {
		t.Errorf("got %+v", p)
	}
	join := build(here6, netip.MustParseAddrPort("[ff02::16]:0"), protoICMPv6, []byte{143, 0, 0, 0, 0, 0, 0, 0})
	if p := intact(t, join); !p.housekeeping() || !p.many() {
		t.Errorf("got %+v", p)
	}
}

func TestParseExtensions(t *testing.T) {
	plain := datagram(here6, there6, "x")
	udp := plain[40:]
	with := func(first byte, headers ...byte) []byte {
		b := bytes.Clone(plain[:40])
		b[6] = first
		b = append(append(b, headers...), udp...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return b
	}
	for name, b := range map[string][]byte{
		"options":        with(headerOptions, protoUDP, 0, 0, 0, 0, 0, 0, 0),
		"hops, options":  with(headerHops, headerOptions, 0, 0, 0, 0, 0, 0, 0, protoUDP, 0, 0, 0, 0, 0, 0, 0),
		"first fragment": with(headerFragment, protoUDP, 0, 0, 1, 0, 0, 0, 9),
		"authenticated":  with(headerAuth, protoUDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		if p, ok := parse(b); !ok || p.dst != there6 || string(p.data) != "x" {
			t.Errorf("%s: %+v, %v", name, p, ok)
		}
	}
	if p, ok := parse(with(headerFragment, protoUDP, 0, 0, 8, 0, 0, 0, 9)); !ok || !p.rest || p.dst.Port() != 0 {
		t.Errorf("a later fragment: %+v, %v", p, ok)
	}
	if _, ok := parse(with(headerOptions, protoUDP, 200, 0, 0, 0, 0, 0, 0)); ok {
		t.Error("a header longer than the packet was accepted")
	}
}

func TestParseCut(t *testing.T) {
	for _, whole := range [][]byte{segment(here4, there4, flagSYN, 1, "x"), segment(here6, there6, flagSYN, 1, "x"), datagram(here4, there4, "x")} {
		for n := range whole {
			if _, ok := parse(bytes.Clone(whole[:n])); ok {
				t.Errorf("%d of %d bytes were accepted", n, len(whole))
			}
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(segment(here4, there4, flagSYN, 1, "x"))
	f.Add(segment(here6, there6, flagSYN|flagFIN, 1, ""))
	f.Add(datagram(here6, there6, "x"))
	f.Add(build(here4, there4, protoICMP, []byte{8, 0, 0, 0, 0, 1, 0, 1}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, ok := parse(bytes.Clone(raw))
		if !ok {
			return
		}
		if !p.src.IsValid() || !p.dst.IsValid() || p.at > len(p.raw) || len(p.raw) > len(raw) {
			t.Fatalf("got %+v", p)
		}
		intact(t, p.prohibited())
		if p.rest {
			return
		}
		switch p.proto {
		case protoTCP:
			intact(t, p.reset())
			to := there4
			if p.dst.Addr().Is6() {
				to = there6
			}
			if q, ok := parse(p.readdress(p.src, to)); !ok || q.dst != to || !bytes.Equal(q.data, p.data) {
				t.Fatalf("readdressed to %+v", q)
			}
		case protoUDP:
			intact(t, p.reply([]byte("x")))
		}
		_, _ = p.many(), p.housekeeping()
	})
}
