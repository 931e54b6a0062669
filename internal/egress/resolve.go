//go:build linux

package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/peer"
)

// askTimeout bounds a question to a real name server, and streamLife a
// connection of a client of ours.
const (
	askTimeout = 3 * time.Second
	streamLife = 30 * time.Second
)

// nameServers lists the addresses of the world itself where programs ask for
// names. Those elsewhere are asked through the device.
func (g *Gateway) nameServers() (out []netip.Addr) {
	for _, s := range g.cfg.Host.Servers {
		if g.isLocal(s) {
			out = append(out, s)
		}
	}
	// Without the file, which often is a link to what the world does not have,
	// resolvers ask at home: resolv.conf(5).
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/etc/resolv.conf", g.cfg.Init)); err != nil {
		for _, home := range []string{"127.0.0.1", "::1"} {
			if a := netip.MustParseAddr(home); !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// isServer reports whether addr is one of the host's name servers.
func (g *Gateway) isServer(addr netip.Addr) bool {
	return slices.Contains(g.cfg.Host.Servers, addr.Unmap())
}

// serveNames answers at a local address. One that a member serves at already is
// left to it, and one that the world lacks is no use.
func (g *Gateway) serveNames(addr netip.Addr) error {
	at := netip.AddrPortFrom(addr, 53)
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil
	}
	if err != nil {
		return err
	}
	g.keep(udp)
	g.wg.Go(func() { g.serveDatagrams(udp, at) })
	tcp, err := listenTCP(at)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	if err != nil {
		return err
	}
	g.keep(tcp)
	g.wg.Go(func() { g.serveStreams(tcp, at) })
	return nil
}

func (g *Gateway) serveDatagrams(c *net.UDPConn, at netip.AddrPort) {
	buf := make([]byte, 4096)
	for {
		n, client, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		from := g.owners.of(&packet{proto: protoUDP, src: client, dst: at})
		query := append([]byte(nil), buf[:n]...)
		g.query(query, from, at, func(answer []byte) { _, _ = c.WriteToUDPAddrPort(answer, client) })
	}
}

// query answers a datagram beside whatever else is going on. Where too many wait
// for an answer one more is lost, as on any network.
func (g *Gateway) query(query []byte, from sender, server netip.AddrPort, reply func([]byte)) {
	select {
	case g.asked <- struct{}{}:
	default:
		return
	}
	g.wg.Go(func() {
		defer func() { <-g.asked }()
		if answer := g.resolve(query, from, server, "udp"); answer != nil {
			reply(answer)
		}
	})
}

func (g *Gateway) serveStreams(l *net.TCPListener, at netip.AddrPort) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !g.keep(c) {
			return
		}
		client := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		g.wg.Go(func() {
			defer g.drop(c)
			g.serveStream(c, g.owners.of(&packet{proto: protoTCP, src: client, dst: at}), at)
		})
	}
}

// serveStream answers queries over TCP, RFC 7766, in their order.
func (g *Gateway) serveStream(c net.Conn, from sender, at netip.AddrPort) {
	_ = c.SetDeadline(time.Now().Add(streamLife))
	for {
		query, err := readMessage(c)
		if err != nil {
			return
		}
		answer := g.resolve(query, from, at, "tcp")
		if answer == nil {
			return
		}
		if err := writeMessage(c, answer); err != nil {
			return
		}
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// resolve answers a query that was sent to server: of names that the host knows
// as its own by itself, of others by policy. What is denied is refused, which is
// the code for a server's policy: clients do not take it for "no such name",
// and give up at once (musl's resolver alone waits for its timeout).
func (g *Gateway) resolve(query []byte, from sender, server netip.AddrPort, network string) []byte {
	q, err := parseQuestion(query)
	switch {
	case errors.Is(err, errNoQuery):
		return nil
	case err != nil:
		return q.answer(rcodeFormat, nil)
	}
	if addrs, ok := g.cfg.Host.Names[q.name]; ok && q.opcode == 0 {
		return q.answer(rcodeOK, addrs)
	}
	rule := peer.DecideName(g.cfg.Rules, q.name)
	if !rule.Any && rule.Name == "" {
		if r := peer.Decide(g.cfg.Rules, server.Addr(), server.Port()); r.Policy == peer.AllowRead {
			rule = r // whoever may read from the server may ask it
		}
	}
	if q.opcode != 0 {
		rule = peer.Rule{Policy: peer.Deny} // an update, RFC 2136, or a notification
	}
	answer, said := g.answerName(q, query, rule, server, network)
	by := byNetwork
	if rule.Policy != peer.Deny {
		by = byPolicy
	}
	g.record.add(from, "resolve", q.name, by, said)
	if rule.Policy == peer.RefuseRun {
		g.refuse()
	}
	return answer
}

// answerName answers q as rule says, and returns what that is called in a report.
func (g *Gateway) answerName(q question, query []byte, rule peer.Rule, server netip.AddrPort, network string) (answer []byte, said string) {
	addresses := q.kind == typeA || q.kind == typeAAAA
	switch {
	case rule.Policy == peer.AllowRead && rule.Name != "" && addresses:
		return q.answer(rcodeOK, rule.Addrs), model.AnswerRead
	case rule.Policy == peer.AllowRead:
		answer, err := ask(query, server, network)
		if err != nil {
			return q.answer(rcodeFailure, nil), "SERVFAIL: the name server does not answer"
		}
		return answer, model.AnswerRead
	case rule.Policy == peer.Stub:
		addrs := rule.Addrs
		if len(addrs) == 0 {
			addrs = g.stubs.address(q.name)
		}
		return q.answer(rcodeOK, addrs), model.AnswerStub
	case rule.Policy == peer.RefuseRun:
		return q.answer(rcodeRefused, nil), model.AnswerRefused
	default:
		return q.answer(rcodeRefused, nil), "REFUSED"
	}
}

// ask passes a query on to a real name server, from the host's network.
func ask(query []byte, server netip.AddrPort, network string) ([]byte, error) {
	c, err := net.DialTimeout(network, server.String(), askTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(askTimeout))
	if network == "tcp" {
		if err := writeMessage(c, query); err != nil {
			return nil, err
		}
		return readMessage(c)
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if n >= 12 && buf[0] == query[0] && buf[1] == query[1] {
			return buf[:n], nil
		}
	}
}
