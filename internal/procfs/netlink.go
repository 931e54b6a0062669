package procfs

// A NetlinkSocket is a socket of /proc/PID/net/netlink, netlink(7).
type NetlinkSocket struct {
	Protocol int    // such as 0, NETLINK_ROUTE
	PortID   uint32 // 0 for the kernel's own sockets
	Groups   uint32 // the first 32 multicast groups
	Inode    uint64
}

// NetNetlink reads /proc/PID/net/netlink.
func NetNetlink(pid int) ([]NetlinkSocket, error) {
	return parsed(path(pid, "net/netlink"), ParseNetlink)
}

// ParseNetlink parses the content of /proc/net/netlink.
func ParseNetlink(text []byte) (out []NetlinkSocket, err error) {
	header := true
	for row := range lines(text) {
		if header {
			header = false
			continue
		}
		l := line{rest: row}
		l.word() // the address of the socket, scrambled
		var s NetlinkSocket
		s.Protocol = int(l.uint(10, 16))
		s.PortID = uint32(l.uint(10, 32))
		s.Groups = uint32(l.uint(16, 32))
		for range 5 { // rmem, wmem, dump, locks, drops
			l.word()
		}
		s.Inode = l.uint(10, 64)
		if l.bad {
			return nil, malformed("net/netlink", row)
		}
		out = append(out, s)
	}
	return out, nil
}
