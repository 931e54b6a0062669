//go:build linux

package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/peer"
	"github.com/pilotexec/pilot/internal/procfs"
)

// maxServices bounds the services of the host that are stood in for.
const maxServices = 512

// Services lists where programs of the host that are no members take TCP
// connections: peers outside, although a world has their addresses. members are
// the processes that a world has.
func Services(pid int, members []int) (out []netip.AddrPort, err error) {
	own := map[string]bool{}
	for _, m := range members {
		fds, err := procfs.FDs(m)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			if link, err := procfs.FDLink(m, fd); err == nil {
				own[link] = true
			}
		}
	}
	list, err := procfs.NetTCP(pid)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.State == procfs.Listen && !own[fmt.Sprintf("socket:[%d]", s.Inode)] && !slices.Contains(out, s.Local) && len(out) < maxServices {
			out = append(out, s.Local)
		}
	}
	// A listener for both families would be in the way of one for IPv4 alone.
	slices.SortStableFunc(out, func(a, b netip.AddrPort) int { return a.Addr().Compare(b.Addr()) })
	return out, nil
}

// standIn listens where a service of the host is missing in the world. Where a
// member has taken its place, or the world lacks the address, there is nothing
// to do.
func (g *Gateway) standIn(at netip.AddrPort) error {
	networks := []string{"tcp4"}
	if at.Addr().Is6() {
		networks = []string{"tcp", "tcp6"} // for both families, else for one
	}
	var err error
	for _, network := range networks {
		var l *net.TCPListener
		if l, err = net.ListenTCP(network, net.TCPAddrFromAddrPort(at)); err == nil {
			g.keep(l)
			g.wg.Go(func() { g.acceptLocal(l) })
			return nil
		}
	}
	for _, harmless := range []error{syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EINVAL} {
		if errors.Is(err, harmless) { // EINVAL: an address that needs a scope
			return nil
		}
	}
	return fmt.Errorf("stand in for %s: %w", at, err)
}

// acceptLocal answers those who come for a service of the host.
func (g *Gateway) acceptLocal(l *net.TCPListener) {
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
		g.wg.Go(func() { g.answerLocal(c) })
	}
}

// answerLocal does as the policy for the service says. What is denied is reset:
// the connection exists already.
func (g *Gateway) answerLocal(c *net.TCPConn) {
	f := &flow{
		client: unmap(c.RemoteAddr().(*net.TCPAddr).AddrPort()),
		server: unmap(c.LocalAddr().(*net.TCPAddr).AddrPort()),
	}
	f.from = g.owners.of(&packet{proto: protoTCP, src: f.client, dst: f.server})
	f.rule = peer.Decide(g.cfg.Rules, f.server.Addr(), f.server.Port())
	by, answer := byPolicy, ""
	switch f.rule.Policy {
	case peer.Stub:
		answer = model.AnswerStub
	case peer.AllowRead:
		answer = model.AnswerRead
	case peer.RefuseRun:
		answer = model.AnswerRefused
	default:
		by, answer = byNetwork, "ECONNRESET"
	}
	g.record.add(f.from, "connect", g.serverOf(f), by, answer)
	if answer == model.AnswerStub || answer == model.AnswerRead {
		g.answer(c, f)
		return
	}
	if f.rule.Policy == peer.RefuseRun {
		g.refuse()
	}
	_ = c.SetLinger(0)
	g.drop(c)
}
