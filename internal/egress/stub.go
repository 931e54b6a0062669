package egress

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// speakFirst is how long a stub waits for the client to say something
	// before it replies all the same: some protocols begin with the server.
	speakFirst = 200 * time.Millisecond
	// stubLife bounds a connection to a stub after the reply.
	stubLife = 10 * time.Second
)

// serveStub sends reply once, after the first bytes of the client or a short
// while, and hangs up. What the client says is read and forgotten.
func serveStub(c *net.TCPConn, reply string) {
	_ = c.SetReadDeadline(time.Now().Add(speakFirst))
	buf := make([]byte, 4096)
	_, _ = c.Read(buf)
	_ = c.SetDeadline(time.Now().Add(stubLife))
	if _, err := io.WriteString(c, reply); err != nil {
		return
	}
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// firstStub is the lowest of the addresses that names are given which nobody
// could resolve.
var firstStub = netip.MustParseAddr("198.18.1.0")

const maxStubs = 10000

// stubNames gives names addresses that nobody has.
type stubNames struct {
	mu     sync.Mutex // guards what follows
	byName map[string]netip.Addr
	byAddr map[netip.Addr]string
}

func newStubNames() *stubNames {
	return &stubNames{byName: map[string]netip.Addr{}, byAddr: map[netip.Addr]string{}}
}

// address returns the address of name, none when there are too many names.
func (s *stubNames) address(name string) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.byName[name]
	if !ok {
		if len(s.byName) >= maxStubs {
			return nil
		}
		raw := firstStub.As4()
		binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+uint32(len(s.byName)))
		a = netip.AddrFrom4(raw)
		s.byName[name], s.byAddr[a] = a, name
	}
	return []netip.Addr{a}
}

// name returns the name that has addr, or nothing.
func (s *stubNames) name(addr netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byAddr[addr]
}
