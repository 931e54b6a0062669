package egress

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// led leads a packet and returns what becomes of it.
func led(t *testing.T, n *nat, raw []byte) (packet, bool) {
	t.Helper()
	p, ok := parse(bytes.Clone(raw))
	if !ok {
		t.Fatalf("no packet: %x", raw)
	}
	b := n.lead(&p)
	if b == nil {
		return packet{}, false
	}
	return intact(t, b), true
}

func TestNAT(t *testing.T) {
	n := newNAT()
	n.listeners = []netip.AddrPort{netip.AddrPortFrom(router4, 7000), netip.AddrPortFrom(router6, 7001)}
	for i, c := range [][2]netip.AddrPort{{here4, there4}, {here6, there6}} {
		if _, ok := led(t, n, segment(c[0], c[1], flagSYN, 1, "")); ok {
			t.Error("a connection that nobody has added is led")
		}
		f := &flow{client: c[0], server: c[1]}
		if !n.add(f) {
			t.Fatal("no room")
		}
		out, ok := led(t, n, segment(c[0], c[1], flagSYN, 1, "x"))
		if !ok || out.dst != n.listeners[i] || out.src.Port() != f.port {
			t.Fatalf("out: %+v", out)
		}
		back, ok := led(t, n, segment(out.dst, out.src, flagACK, 1, "y"))
		if !ok || back.src != c[1] || back.dst != c[0] || string(back.data) != "y" {
			t.Errorf("back: %+v", back)
		}
		stranger := netip.AddrPortFrom(out.src.Addr(), out.src.Port()+100)
		if _, ok := led(t, n, segment(out.dst, stranger, flagACK, 1, "")); ok {
			t.Error("a segment to a flow that is none is led")
		}
		if got := n.enter(out.src); got != f || f.active != 1 {
			t.Errorf("got %+v", got)
		}
		n.leave(f)
	}
	if n.enter(netip.AddrPortFrom(here4.Addr(), lowPort)) != nil || n.enter(netip.AddrPortFrom(pretend4, 9)) != nil {
		t.Error("a stranger enters")
	}
}

func TestNATIsBounded(t *testing.T) {
	n := newNAT()
	client := func(i int) netip.AddrPort { return netip.AddrPortFrom(here4.Addr(), uint16(i)) }
	for i := range maxFlows {
		if !n.add(&flow{client: client(i), server: there4}) {
			t.Fatalf("no room for flow %d", i)
		}
	}
	if n.add(&flow{client: client(maxFlows), server: there4}) {
		t.Error("there is always room")
	}
	// The same connection anew takes its own place.
	again := &flow{client: client(5), server: there4}
	if !n.add(again) || len(n.byPort) != maxFlows || n.byEnds[[2]netip.AddrPort{client(5), there4}] != again {
		t.Errorf("%d flows", len(n.byPort))
	}
	for _, f := range n.byPort {
		f.used = time.Now().Add(-2 * linger)
	}
	n.enter(netip.AddrPortFrom(pretend4, again.port))
	if !n.add(&flow{client: client(maxFlows), server: there4}) || n.byPort[again.port] != again || len(n.byPort) != 2 {
		t.Errorf("%d flows are left", len(n.byPort))
	}
}
