//go:build linux

package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/peer"
	"github.com/pilotexec/pilot/internal/procfs"
)

// A Host is what the host knows of names.
type Host struct {
	// Servers are the name servers that its programs ask.
	Servers []netip.Addr
	// Names are those of the host itself, and so of the members.
	Names map[string][]netip.Addr
	// Services are where programs that are no members listen, see [Services].
	Services []netip.AddrPort
}

// ReadHost reads the host's files, and resolves the names in mentioned as the
// host does. Those of its own addresses are known in worlds. addresses are the
// host's own.
func ReadHost(ctx context.Context, addresses []netip.Addr, mentioned []string) (h Host) {
	// Without the files there are the resolver's defaults, and no names.
	text, _ := os.ReadFile("/etc/resolv.conf")
	if h.Servers = parseServers(string(text)); len(h.Servers) == 0 {
		h.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	own := func(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(addresses, a) }
	text, _ = os.ReadFile("/etc/hosts")
	h.Names = map[string][]netip.Addr{"localhost": {netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}}
	for name, addrs := range parseHosts(string(text)) {
		for _, a := range addrs {
			if own(a) && !slices.Contains(h.Names[name], a) {
				h.Names[name] = append(h.Names[name], a)
			}
		}
	}
	if name, err := os.Hostname(); err == nil && h.Names[strings.ToLower(name)] == nil {
		h.Names[strings.ToLower(name)] = slices.Clone(addresses)
		if len(addresses) == 0 {
			h.Names[strings.ToLower(name)] = h.Names["localhost"]
		}
	}
	for name, addrs := range lookUp(ctx, mentioned) {
		if len(addrs) > 0 && h.Names[name] == nil && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !own(a) }) {
			h.Names[name] = addrs
		}
	}
	return h
}

// mentionTimeout bounds the resolution of all names that members mention.
const mentionTimeout = time.Second

// lookUp resolves names, all at once. What cannot be resolved in time is missing.
func lookUp(ctx context.Context, names []string) map[string][]netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, mentionTimeout)
	defer cancel()
	found := make([][]netip.Addr, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
			if err != nil {
				return
			}
			for _, a := range addrs {
				found[i] = append(found[i], a.Unmap())
			}
		})
	}
	wg.Wait()
	out := map[string][]netip.Addr{}
	for i, name := range names {
		out[name] = found[i]
	}
	return out
}

// resolveTimeout bounds the resolution of the rules' names.
const resolveTimeout = 5 * time.Second

// Rules reads rules and resolves the names in them on the host. A name that
// cannot be resolved makes the run impossible, unless it gets a stub: whether a
// connection is meant by the rule could not be told.
func Rules(ctx context.Context, list []model.EgressRule) (rules []peer.Rule, refusals []model.Refusal, err error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, e := range list {
		r := peer.Rule{Reply: e.Reply}
		if r.Pattern, err = peer.Parse(e.Peer); err != nil {
			return nil, nil, fmt.Errorf("egress: %w", err)
		}
		if r.Policy, err = peer.ParsePolicy(e.Policy); err != nil {
			return nil, nil, fmt.Errorf("egress: %w", err)
		}
		if r.Name != "" {
			addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", r.Name)
			for _, a := range addrs {
				r.Addrs = append(r.Addrs, a.Unmap())
			}
			if err != nil && r.Policy != peer.Stub {
				refusals = append(refusals, model.Refusal{
					Object: "egress rule", Kind: e.Peer, Why: "the name cannot be resolved on this host",
					Hint: "give an address, or leave the rule out: what no rule means is denied",
				})
			}
		}
		rules = append(rules, r)
	}
	return rules, refusals, nil
}

// A Touch is a connection that a rule refuses.
type Touch struct {
	PID  int
	Peer netip.AddrPort
}

// Touching lists the connections of processes pids to peers with which a run is
// refused. Those among each other are none.
func Touching(pids []int, rules []peer.Rule) (out []Touch, err error) {
	if !slices.ContainsFunc(rules, func(r peer.Rule) bool { return r.Policy == peer.RefuseRun }) {
		return nil, nil
	}
	type end struct{ local, remote netip.AddrPort }
	ends := map[end]bool{}
	byPID := map[int][]end{}
	for _, pid := range pids {
		sockets, err := connected(pid)
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			e := end{unmap(s.Local), unmap(s.Remote)}
			ends[e] = true
			byPID[pid] = append(byPID[pid], e)
		}
	}
	for _, pid := range pids {
		for _, e := range byPID[pid] {
			if ends[end{e.remote, e.local}] {
				continue
			}
			if peer.Decide(rules, e.remote.Addr(), e.remote.Port()).Policy == peer.RefuseRun {
				out = append(out, Touch{pid, e.remote})
			}
		}
	}
	return out, nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// connected lists the sockets of a process that have a peer.
func connected(pid int) (out []procfs.InetSocket, err error) {
	own := map[string]bool{}
	fds, err := procfs.FDs(pid)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		if link, err := procfs.FDLink(pid, fd); err == nil {
			own[link] = true
		}
	}
	for _, read := range []func(int) ([]procfs.InetSocket, error){procfs.NetTCP, procfs.NetUDP} {
		list, err := read(pid)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if s.State != procfs.Listen && s.Remote.Port() != 0 && own[fmt.Sprintf("socket:[%d]", s.Inode)] {
				out = append(out, s)
			}
		}
	}
	return out, nil
}
