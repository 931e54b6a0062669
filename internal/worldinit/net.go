//go:build linux

package worldinit

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
)

// buildNet brings the loopback device up and gives it the host's addresses, so
// that members find each other where they did.
func buildNet(addresses []string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback device up: %w", err)
	}
	for _, text := range addresses {
		addr, err := netlink.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("address %q: %w", text, err)
		}
		addr.Flags |= 0x02 // IFA_F_NODAD: usable at once
		if err := netlink.AddrAdd(lo, addr); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("add address %s: %w", text, err)
		}
	}
	return nil
}
