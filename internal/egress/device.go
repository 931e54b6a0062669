//go:build linux

package egress

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/pilotexec/pilot/internal/sys"
	"github.com/vishvananda/netlink"
)

// deviceName is how the world sees its way out.
const deviceName = "pilot0"

// The ends of redirected connections: ours, and the one that stands for the
// world's. The prefixes are those for tests of devices, RFC 2544, and for what is
// local to a site, RFC 4193.
var (
	router4  = netip.MustParseAddr("198.18.0.1")
	pretend4 = netip.MustParseAddr("198.18.0.2")
	router6  = netip.MustParseAddr("fd70:696c:6f74::1")
	pretend6 = netip.MustParseAddr("fd70:696c:6f74::2")
)

// buildDevice makes the device and leads everything to it that the world does
// not have. It runs on the thread in the world's network namespace.
func (g *Gateway) buildDevice() (err error) {
	if g.tun, err = sys.OpenTUN(deviceName); err != nil {
		return fmt.Errorf("make TUN device: %w", err)
	}
	link, err := netlink.LinkByName(deviceName)
	if err != nil {
		return fmt.Errorf("find TUN device: %w", err)
	}
	sources, err := g.findAddresses()
	if err != nil {
		return err
	}
	// Without an address of its own making the kernel asks for no routers.
	noLinkLocal := "/proc/sys/net/ipv6/conf/" + deviceName + "/addr_gen_mode"
	if err := os.WriteFile(noLinkLocal, []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	families := []netip.Addr{router4}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
		families = append(families, router6)
	}
	for _, router := range families {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: router.AsSlice(), Mask: net.CIDRMask(router.BitLen(), router.BitLen())},
			Flags: syscall.IFA_F_NODAD, Scope: int(netlink.SCOPE_LINK)}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add address %s: %w", router, err)
		}
		g.local[router] = true
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set TUN device up: %w", err)
	}
	for _, router := range families {
		src := router
		if s, ok := sources[router.BitLen()]; ok {
			src = s // what production's packets would have
		}
		if err := addRoute(link, netip.PrefixFrom(router, 0).Masked(), src); err != nil {
			return err
		}
	}
	// The kernel sends to a group by the device that has the source address
	// (net/ipv4/route.c, ip_route_output_key_hash_rcu), so it must be ours.
	return addRoute(link, netip.MustParsePrefix("224.0.0.0/4"), router4)
}

func addRoute(link netlink.Link, to netip.Prefix, src netip.Addr) error {
	dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), src.BitLen())}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Src: src.AsSlice(), Scope: netlink.SCOPE_LINK}
	if src.Is6() {
		route.Scope = netlink.SCOPE_UNIVERSE
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s from %s: %w", to, src, err)
	}
	return nil
}

// findAddresses notes the world's addresses, and returns the first that may be
// used to the outside for each length of address.
func (g *Gateway) findAddresses() (map[int]netip.Addr, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	sources := map[int]netip.Addr{}
	for _, a := range list {
		addr, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		addr = addr.Unmap()
		g.local[addr] = true
		if _, have := sources[addr.BitLen()]; !have && addr.IsGlobalUnicast() {
			sources[addr.BitLen()] = addr
		}
	}
	return sources, nil
}

// isLocal reports whether addr is one of the world's.
func (g *Gateway) isLocal(addr netip.Addr) bool { return addr.IsLoopback() || g.local[addr] }

// IsGateway reports whether an address is that of the gateway in a world.
func IsGateway(a netip.Addr) bool { return a == router4 || a == router6 }
