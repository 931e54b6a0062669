package egress

import (
	"net/netip"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/peer"
)

const (
	maxFlows = 4096
	// linger is how long a flow is kept when its connection is closed: both
	// ends have last segments to exchange.
	linger = 10 * time.Second
	// lowPort and on are the ports that stand for clients.
	lowPort = 1024
)

// A flow is a TCP connection of the world that a listener of ours answers.
type flow struct {
	client, server netip.AddrPort
	port           uint16 // that stands for the client
	rule           peer.Rule
	names          bool // to a name server
	from           sender

	active int       // connections that are being served
	used   time.Time // last
}

// nat leads flows to listeners and back.
type nat struct {
	listeners []netip.AddrPort // at most one of a family

	mu     sync.Mutex // guards what follows
	byEnds map[[2]netip.AddrPort]*flow
	byPort map[uint16]*flow
	next   uint16
}

func newNAT() *nat {
	return &nat{byEnds: map[[2]netip.AddrPort]*flow{}, byPort: map[uint16]*flow{}, next: lowPort}
}

// ends are the addresses of redirected connections of a family: ours, and the
// one that stands for the client's.
func (n *nat) ends(like netip.Addr) (listener netip.AddrPort, pretend netip.Addr, ok bool) {
	for _, l := range n.listeners {
		if l.Addr().Is4() == like.Is4() {
			if like.Is4() {
				return l, pretend4, true
			}
			return l, pretend6, true
		}
	}
	return listener, pretend, false
}

// add takes in a flow, and reports whether there was room.
func (n *nat) add(f *flow) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if old := n.byEnds[[2]netip.AddrPort{f.client, f.server}]; old != nil {
		n.remove(old)
	}
	if len(n.byPort) >= maxFlows {
		for _, old := range n.byPort {
			if old.active == 0 && now.Sub(old.used) > linger {
				n.remove(old)
			}
		}
		if len(n.byPort) >= maxFlows {
			return false
		}
	}
	for n.next < lowPort || n.byPort[n.next] != nil {
		n.next++
	}
	f.port, f.used = n.next, now
	n.next++
	n.byPort[f.port], n.byEnds[[2]netip.AddrPort{f.client, f.server}] = f, f
	return true
}

// remove is for holders of the mutex.
func (n *nat) remove(f *flow) {
	delete(n.byPort, f.port)
	if key := [2]netip.AddrPort{f.client, f.server}; n.byEnds[key] == f {
		delete(n.byEnds, key)
	}
}

// lead changes the addresses of a segment that belongs to a flow, and returns
// nil for any other.
func (n *nat) lead(p *packet) []byte {
	listener, pretend, ok := n.ends(p.dst.Addr())
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.src == listener && p.dst.Addr() == pretend {
		if f := n.byPort[p.dst.Port()]; f != nil {
			f.used = time.Now()
			return p.readdress(f.server, f.client)
		}
		return nil
	}
	if f := n.byEnds[[2]netip.AddrPort{p.src, p.dst}]; f != nil {
		f.used = time.Now()
		return p.readdress(netip.AddrPortFrom(pretend, f.port), listener)
	}
	return nil
}

// enter returns the flow of an accepted connection, nil if it is none's.
func (n *nat) enter(remote netip.AddrPort) *flow {
	addr := remote.Addr().Unmap()
	if addr != pretend4 && addr != pretend6 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.byPort[remote.Port()]
	if f != nil {
		f.active++
	}
	return f
}

// leave ends what enter began.
func (n *nat) leave(f *flow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.active--
	f.used = time.Now()
}
