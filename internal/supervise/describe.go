//go:build linux

package supervise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// pathArgument is the argument of a call that says best what it was made on.
var pathArgument = map[string]int{
	"acct": 0, "fsopen": 0, "mknod": 0, "mknodat": 1, "mount": 1, "mount_setattr": 1, "move_mount": 3,
	"open_tree": 1, "pivot_root": 0, "quotactl": 1, "request_key": 1, "add_key": 1, "swapoff": 0, "swapon": 0, "umount2": 0,
}

// numberArgument is the argument of a call whose number tells what was wanted.
var numberArgument = map[string]struct {
	arg  int
	name string
}{
	"bpf": {0, "command"}, "clone": {0, "flags"}, "ioctl": {1, "request"}, "keyctl": {0, "operation"},
	"setns": {1, "flags"}, "socket": {0, "family"}, "unshare": {0, "flags"},
}

// describe says on what a refused call was made.
func (s *Supervisor) describe(name string, n sys.Notification) string {
	if arg, ok := pathArgument[name]; ok {
		return text(int(n.TID), n.Args[arg])
	}
	if number, ok := numberArgument[name]; ok {
		return fmt.Sprintf("%s %#x", number.name, uint32(n.Args[number.arg]))
	}
	return ""
}

// text reads a string of the caller, as far as it can be read.
func text(tid int, addr uint64) string {
	buf := make([]byte, 256)
	n, _ := readMemory(tid, addr, buf)
	s, _, _ := bytes.Cut(buf[:n], []byte{0})
	return strings.ToValidUTF8(string(s), "?")
}

func readMemory(tid int, addr uint64, buf []byte) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(buf, int64(addr))
}

// destination says where a connection goes, and what stops it if that is
// outside of the world.
func (s *Supervisor) destination(n sys.Notification, rule seal.Rule) (target, by string) {
	buf := make([]byte, min(n.Args[rule.Address+1], unix.SizeofSockaddrUnix))
	if got, err := readMemory(int(n.TID), n.Args[rule.Address], buf); err != nil || got < 2 {
		return "", "" // it fails by itself
	}
	switch binary.NativeEndian.Uint16(buf) {
	case unix.AF_INET, unix.AF_INET6:
		addr, ok := inetAddress(buf)
		if !ok || addr.Addr().IsUnspecified() || s.local(addr.Addr()) {
			return "", ""
		}
		protocol := s.protocol(n)
		if protocol == "udp" {
			// It sends nothing: the C library asks so which address would be used.
			return "", ""
		}
		return protocol + " " + addr.String(), "network"
	case unix.AF_UNIX:
		return s.unixTarget(unixName(buf[2:]))
	}
	return "", ""
}

// inetAddress decodes a struct sockaddr_in or sockaddr_in6.
func inetAddress(b []byte) (netip.AddrPort, bool) {
	if len(b) < 8 {
		return netip.AddrPort{}, false
	}
	port := binary.BigEndian.Uint16(b[2:])
	if binary.NativeEndian.Uint16(b) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port), true
	}
	if len(b) < 24 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port), true
}

// unixName decodes the path of a struct sockaddr_un: abstract names begin with
// "@", as /proc/net/unix shows them.
func unixName(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if b[0] == 0 {
		return "@" + strings.ReplaceAll(string(b[1:]), "\x00", "@")
	}
	path, _, _ := bytes.Cut(b, []byte{0})
	return string(path)
}

// protocol asks the caller's socket what it is.
func (s *Supervisor) protocol(n sys.Notification) string {
	const unknown = "socket"
	status, err := procfs.ReadStatus(int(n.TID))
	if err != nil {
		return unknown
	}
	pidfd, err := sys.PidfdOpen(status.Tgid)
	if err != nil {
		return unknown
	}
	defer pidfd.Close()
	fd, err := sys.PidfdGetFD(pidfd, int(n.Args[0]))
	if err != nil {
		return unknown
	}
	defer fd.Close()
	typ, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return unknown
	}
	switch typ {
	case unix.SOCK_STREAM:
		return "tcp"
	case unix.SOCK_DGRAM:
		return "udp"
	case unix.SOCK_RAW:
		return "raw"
	}
	return unknown
}

// unixTarget tells whether somebody listens under name on the host and nobody
// in the world: only then is the connection more than a mistake.
func (s *Supervisor) unixTarget(name string) (target, by string) {
	host, err := procfs.NetUnix(os.Getpid())
	if err != nil || !bound(host, name) {
		return "", ""
	}
	if world, err := procfs.NetUnix(s.init); err == nil && bound(world, name) {
		return "", ""
	}
	if strings.HasPrefix(name, "@") {
		return "unix " + name, "network"
	}
	return "unix " + name, "mounts"
}

func bound(sockets []procfs.UnixSocket, name string) bool {
	return name != "" && slices.ContainsFunc(sockets, func(s procfs.UnixSocket) bool { return s.Path == name })
}

// stranger tells whether the process that a call is about exists on the host
// and not in the world.
func (s *Supervisor) stranger(n sys.Notification, rule seal.Rule) (target, by string) {
	pid := int(int32(n.Args[rule.Target]))
	if pid < 0 {
		pid = -pid // a process group
	}
	if pid <= 1 {
		return "", ""
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/proc/%d", s.init, pid)); err == nil {
		return "", ""
	}
	// The init has numbers of its own for the world's processes.
	if caller, err := procfs.ReadStatus(int(n.TID)); err == nil && caller.Tgid == s.init {
		return "", ""
	}
	origin := s.origin(pid)
	if origin == 0 {
		return "", ""
	}
	args, err := procfs.Cmdline(origin)
	if err != nil {
		return "", ""
	}
	return strings.TrimSpace(fmt.Sprintf("pid %d %s", pid, strings.Join(args, " "))), "pid namespace"
}
