//go:build linux

// Package egress answers what the processes of a world send to the outside. A
// TUN device is the world's default route, so that every packet for an address
// that the world does not have itself is read here, and goes nowhere else. Each
// is recorded with its process, and answered at once by the policy for its peer
// (package peer): an error, a fixed reply, or, for what only reads, the answer of
// the real peer.
//
// A TCP connection that is to be answered is led to a listener of ours in the
// world's network namespace, by changing its addresses: both of its directions
// pass the device. So the peer's address need not be one of the world's, and
// any number of peers can be answered.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/osthread"
	"github.com/pilotexec/pilot/internal/peer"
	"github.com/pilotexec/pilot/internal/sys"
)

// Who stopped or answered an attempt, model.Attempt.By.
const (
	byNetwork = "network"
	byPolicy  = "policy"
)

// A Config describes one world.
type Config struct {
	// Init is the world's first process, and Members are its phantoms by
	// their names; both in our pid namespace.
	Init    int
	Members map[int]string
	// Rules are what is done about which peer, see [Rules].
	Rules []peer.Rule
	// Host is what the host knows of names.
	Host Host
}

// A Gateway is all that a world can reach outside of itself.
type Gateway struct {
	cfg    Config
	space  *osthread.Thread // in the world's network namespace
	tun    *os.File
	owners owners
	record *record
	local  map[netip.Addr]bool // addresses of the world
	nat    *nat
	work   chan packet
	recent map[route]seen // by the worker alone
	stubs  *stubNames
	asked  chan struct{} // one for each query that is being answered
	proxy  *http.Server
	feed   *feed

	once    sync.Once
	refused chan struct{}

	mu     sync.Mutex // guards what follows
	open   map[closer]bool
	closed bool
	wg     sync.WaitGroup
}

// Start puts a gateway at the edge of a world that does not run yet.
func Start(cfg Config) (*Gateway, error) {
	g := &Gateway{
		cfg: cfg, space: osthread.New(), record: newRecord(),
		local: map[netip.Addr]bool{}, work: make(chan packet, 256), recent: map[route]seen{},
		stubs: newStubNames(), asked: make(chan struct{}, 64), refused: make(chan struct{}), open: map[closer]bool{},
	}
	if err := g.start(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Gateway) start() (err error) {
	if g.owners, err = newOwners(g.cfg.Init, g.cfg.Members); err != nil {
		return err
	}
	if err := g.space.Do(func() error { return sys.Enter(g.cfg.Init, sys.NewNet) }); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	if err := g.space.Do(g.buildDevice); err != nil {
		return err
	}
	g.startProxy()
	if err := g.space.Do(g.listen); err != nil {
		return err
	}
	g.wg.Go(g.readPackets)
	g.wg.Go(g.handlePackets)
	return nil
}

// Attempts returns what was tried so far, by the time since the world was
// released.
func (g *Gateway) Attempts(released time.Time) []model.Attempt { return g.record.attempts(released) }

// Incomplete says what was not recorded.
func (g *Gateway) Incomplete() []string { return g.record.missing() }

// Refused is closed when a peer was tried that must not be.
func (g *Gateway) Refused() <-chan struct{} { return g.refused }

func (g *Gateway) refuse() { g.once.Do(func() { close(g.refused) }) }

type closer interface{ Close() error }

// keep has c closed with the gateway, and reports whether that still runs. A c
// that comes too late is closed at once.
func (g *Gateway) keep(c closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return false
	}
	g.open[c] = true
	return true
}

// drop closes what was kept.
func (g *Gateway) drop(c closer) {
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
	_ = c.Close()
}

// Close ends the gateway. The world has no way out then, as before.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	for c := range g.open {
		_ = c.Close()
	}
	g.mu.Unlock()
	if g.tun != nil {
		_ = g.tun.Close() // ends the reader, which ends the worker
	}
	if g.proxy != nil {
		_ = g.proxy.Close()
	}
	g.wg.Wait()
	g.space.Close()
}

// listen makes the sockets that answer: one for redirected connections of each
// family, the name servers that the world has an address of, and services of the
// host.
func (g *Gateway) listen() error {
	g.nat = newNAT()
	for _, router := range []netip.Addr{router4, router6} {
		if !g.local[router] {
			continue
		}
		l, err := listenTCP(netip.AddrPortFrom(router, 0))
		if err != nil {
			return fmt.Errorf("listen for redirected connections: %w", err)
		}
		g.keep(l)
		g.nat.listeners = append(g.nat.listeners, l.Addr().(*net.TCPAddr).AddrPort())
		g.wg.Go(func() { g.accept(l) })
	}
	for _, server := range g.nameServers() {
		if err := g.serveNames(server); err != nil {
			return fmt.Errorf("name server %s: %w", server, err)
		}
	}
	for _, at := range g.cfg.Host.Services {
		if err := g.standIn(at); err != nil {
			return err
		}
	}
	return nil
}

func listenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
}

// accept takes redirected connections.
func (g *Gateway) accept(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: others end
			continue
		}
		f := g.nat.enter(c.RemoteAddr().(*net.TCPAddr).AddrPort())
		if f == nil { // a process of the world found the listener by itself
			_ = c.Close()
			continue
		}
		if !g.keep(c) {
			return
		}
		g.wg.Go(func() {
			defer g.nat.leave(f)
			g.answer(c, f)
		})
	}
}

// answer serves one redirected connection.
func (g *Gateway) answer(c *net.TCPConn, f *flow) {
	switch {
	case f.names:
		g.serveStream(c, f.from, f.server)
		g.drop(c)
	case f.rule.Policy == peer.Stub:
		serveStub(c, f.rule.Reply)
		g.drop(c)
	default:
		g.serveRead(c, f)
	}
}
