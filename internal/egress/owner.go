//go:build linux

package egress

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
)

// owners finds the process of a world that has a socket. It reads /proc anew
// each time: who has asked and who is asking may differ by one fork.
type owners struct {
	init    int            // the world's first process, in our pid namespace
	members map[int]string // phantoms, in our pid namespace
	space   uint64         // the world's network namespace
}

func newOwners(init int, members map[int]string) (o owners, err error) {
	o = owners{init: init, members: members}
	spaces, err := procfs.Namespaces(init)
	if err != nil {
		return o, err
	}
	o.space = spaces["net"]
	return o, nil
}

// of returns the process that sends p. Its pid is 0 when the socket, or the
// process, is gone already, or the protocol tells nobody.
func (o owners) of(p *packet) sender {
	inodes := o.sockets(p.proto, p.src, p.dst)
	if len(inodes) == 0 {
		return sender{}
	}
	pids, err := procfs.Processes()
	if err != nil {
		return sender{}
	}
	var links []string
	for _, ino := range inodes {
		links = append(links, "socket:["+strconv.FormatUint(ino, 10)+"]")
	}
	for _, pid := range pids {
		if o.lives(pid) && o.holds(pid, links) {
			return o.describe(pid)
		}
	}
	return sender{}
}

// lives reports whether pid is a process of the world.
func (o owners) lives(pid int) bool {
	link, err := procfs.Namespace(pid, "net")
	return err == nil && link == o.space
}

func (o owners) holds(pid int, links []string) bool {
	fds, err := procfs.FDs(pid)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if link, err := procfs.FDLink(pid, fd); err == nil && slices.Contains(links, link) {
			return true
		}
	}
	return false
}

func (o owners) describe(pid int) sender {
	s := sender{member: o.members[pid]}
	if status, err := procfs.ReadStatus(pid); err == nil && len(status.NSpid) > 0 {
		// The last is the process's own: no world makes pid namespaces.
		s.pid, s.process = status.NSpid[len(status.NSpid)-1], status.Name
	}
	if args, err := procfs.Cmdline(pid); err == nil && len(args) > 0 {
		s.process = shorten(strings.Join(args, " "))
	}
	return s
}

// shorten makes a command line one that can be shown.
func shorten(line string) string {
	const limit = 120
	if r := []rune(line); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return line
}

// sockets returns the inodes of the sockets that can have sent a packet: the
// best match, or all that match equally well.
func (o owners) sockets(proto byte, src, dst netip.AddrPort) []uint64 {
	switch proto {
	case protoTCP:
		list, _ := procfs.NetTCP(o.init)
		return best(list, src, dst)
	case protoUDP:
		list, _ := procfs.NetUDP(o.init)
		if found := best(list, src, dst); len(found) > 0 {
			return found
		}
	case protoICMP, protoICMPv6:
		list, _ := procfs.NetPing(o.init)
		if found := best(list, src, dst); len(found) > 0 {
			return found
		}
	}
	const anyProto = 255 // IPPROTO_RAW
	list, _ := procfs.NetRaw(o.init)
	for _, port := range []uint16{uint16(proto), anyProto} {
		if found := best(list, netip.AddrPortFrom(src.Addr(), port), dst); len(found) > 0 {
			return found
		}
	}
	return nil
}

// best returns the inodes of those sockets of list that are bound to src, or to
// its port alone, and connected to dst if there are such.
func best(list []procfs.InetSocket, src, dst netip.AddrPort) []uint64 {
	var found []uint64
	rank := 0
	for _, s := range list {
		local, remote := s.Local.Addr().Unmap(), s.Remote.Addr().Unmap()
		if s.Inode == 0 || s.Local.Port() != src.Port() || s.State == procfs.Listen {
			continue
		}
		// Sockets of the other family are no candidates, but those that are
		// for both.
		if local.Is4() != src.Addr().Is4() && !(local.IsUnspecified() && local.Is6()) {
			continue
		}
		score := 1
		if local == src.Addr() {
			score++
		} else if !local.IsUnspecified() {
			continue
		}
		if remote == dst.Addr() && s.Remote.Port() == dst.Port() {
			score += 2
		} else if !remote.IsUnspecified() {
			continue
		}
		if score > rank {
			rank, found = score, nil
		}
		if score == rank {
			found = append(found, s.Inode)
		}
	}
	return found
}
