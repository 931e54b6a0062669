//go:build linux

package egress

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/peer"
)

// resetAfter is when a connection attempt that was answered by ICMP is reset as
// well. The kernel takes the ICMP message for a mere hint while connect(2) still
// holds the socket (net/ipv4/tcp_ipv4.c, tcp_v4_err), and would send again only a
// second later. A connection that has failed already does not see the reset.
const resetAfter = 30 * time.Millisecond

// A route is the way of a datagram.
type route struct {
	proto    byte
	src, dst netip.AddrPort
}

// seen remembers whose a route was.
type seen struct {
	from sender
	at   time.Time
}

// readPackets takes what comes out of the world. Segments of connections that
// are answered already pass at once; whose the others are is found elsewhere.
func (g *Gateway) readPackets() {
	defer close(g.work)
	buf := make([]byte, 1<<16)
	for {
		n, err := g.tun.Read(buf)
		if err != nil {
			return // closed
		}
		p, ok := parse(bytes.Clone(buf[:n]))
		if !ok || p.rest || p.housekeeping() {
			continue
		}
		if p.proto == protoTCP {
			if led := g.nat.lead(&p); led != nil {
				g.send(led)
				continue
			}
			if !p.opens() {
				if p.flags&flagRST == 0 {
					g.send(p.reset())
				}
				continue
			}
		}
		select {
		case g.work <- p:
		default: // a flood: its sender is told all the same
			g.handle(&p, sender{})
		}
	}
}

// handlePackets decides about everything that is new.
func (g *Gateway) handlePackets() {
	for p := range g.work {
		g.handle(&p, g.sender(&p))
	}
}

// sender finds the process behind p. A datagram's is remembered for a second:
// there may be many.
func (g *Gateway) sender(p *packet) sender {
	key := route{p.proto, p.src, p.dst}
	if s, ok := g.recent[key]; ok && time.Since(s.at) < time.Second {
		return s.from
	}
	from := g.owners.of(p)
	if p.proto != protoTCP {
		if len(g.recent) > 1000 {
			clear(g.recent)
		}
		g.recent[key] = seen{from, time.Now()}
	}
	return from
}

// send puts a packet into the world. One that the device does not take is lost,
// as on any network.
func (g *Gateway) send(b []byte) { _, _ = g.tun.Write(b) }

// handle answers a packet by the policy for its peer.
func (g *Gateway) handle(p *packet, from sender) {
	rule := g.rule(p.dst)
	names := p.dst.Port() == 53 && (g.isServer(p.dst.Addr()) || rule.Policy == peer.AllowRead)
	switch {
	case p.opens() && (names || rule.Policy == peer.Stub || rule.Policy == peer.AllowRead):
		g.redirect(p, &flow{client: p.src, server: p.dst, rule: rule, names: names, from: from})
	case p.proto == protoUDP && names:
		q := *p
		g.query(q.data, from, q.dst, func(answer []byte) { g.send(q.reply(answer)) })
	case p.proto == protoUDP && rule.Policy == peer.Stub && !p.many():
		g.record.add(from, "send", g.target(p), byPolicy, model.AnswerStub)
		if rule.Reply != "" {
			g.send(p.reply([]byte(rule.Reply)))
		}
	default:
		g.deny(p, from, rule)
	}
}

// rule is what is done about a peer. One that we made up is known by its name.
func (g *Gateway) rule(to netip.AddrPort) peer.Rule {
	name := g.stubs.name(to.Addr())
	if name == "" {
		return peer.Decide(g.cfg.Rules, to.Addr(), to.Port())
	}
	for _, r := range g.cfg.Rules {
		if (r.Any || r.Name == name) && (r.Port == 0 || r.Port == to.Port()) {
			return r
		}
	}
	return peer.Rule{Policy: peer.Deny}
}

// redirect leads a new connection to a listener of ours.
func (g *Gateway) redirect(p *packet, f *flow) {
	if !g.nat.add(f) {
		g.deny(p, f.from, peer.Rule{Policy: peer.Deny})
		return
	}
	if !f.names {
		answer := model.AnswerStub
		if f.rule.Policy == peer.AllowRead {
			answer = model.AnswerRead
		}
		g.record.add(f.from, "connect", g.target(p), byPolicy, answer)
	}
	if led := g.nat.lead(p); led != nil {
		g.send(led)
	}
}

// deny records p and tells its sender that the way is barred.
func (g *Gateway) deny(p *packet, from sender, rule peer.Rule) {
	op, by, answer := "send", byNetwork, "EHOSTUNREACH"
	switch {
	case p.many():
		answer = "dropped"
	case p.dst.Addr().Is6():
		answer = "EACCES"
	}
	if p.opens() {
		op = "connect"
	}
	if rule.Policy == peer.RefuseRun {
		by, answer = byPolicy, model.AnswerRefused
	}
	g.record.add(from, op, g.target(p), by, answer)
	if rule.Policy == peer.RefuseRun {
		g.refuse()
	}
	if p.many() {
		return
	}
	g.send(p.prohibited())
	if p.opens() {
		reset := p.reset()
		time.AfterFunc(resetAfter, func() { g.send(reset) })
	}
}

// target names p's peer: by its name where the address is one that we made up.
func (g *Gateway) target(p *packet) string {
	name := g.stubs.name(p.dst.Addr())
	if name == "" {
		return p.target()
	}
	return p.targetAt(name)
}
