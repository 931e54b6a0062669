package procfs

import "bytes"

// A UnixSocket is a socket of /proc/PID/net/unix, proc_pid_net(5). Which of
// them are connected to each other is not shown; unix_diag tells.
type UnixSocket struct {
	Flags uint32 // 0x10000 (__SO_ACCEPTCON) for a listener
	Type  int    // 1 stream, 2 datagram, 5 seqpacket
	State int    // 1 unconnected, 2 connecting, 3 connected, 4 disconnecting
	Inode uint64
	// Path is what the socket is bound to, empty for none. It is relative to
	// the working directory that the process had then, and begins with "@" in
	// the abstract name space, where other NULs are shown as "@" as well.
	Path string
}

const acceptsConnections = 0x10000

// Listening reports whether s takes connections.
func (s UnixSocket) Listening() bool { return s.Flags&acceptsConnections != 0 }

// NetUnix reads /proc/PID/net/unix.
func NetUnix(pid int) ([]UnixSocket, error) { return parsed(path(pid, "net/unix"), ParseNetUnix) }

// ParseNetUnix parses the content of /proc/net/unix. The kernel does not
// escape paths: what is not a row by its form is taken for the rest of a path
// with a newline in it.
func ParseNetUnix(text []byte) (out []UnixSocket, err error) {
	header := true
	for row := range bytes.Lines(text) {
		row = bytes.TrimSuffix(row, []byte{'\n'})
		if header {
			header = false
			continue
		}
		l := line{rest: row}
		s := parseUnix(&l)
		switch {
		case !l.bad:
			out = append(out, s)
		case len(out) > 0 && out[len(out)-1].Path != "":
			out[len(out)-1].Path += "\n" + string(row)
		default:
			return nil, malformed("net/unix", row)
		}
	}
	return out, nil
}

// parseUnix parses a row.
//
//	00000000d01da8f0: 00000002 00000000 00010000 0001 01  1614 /run/x.sock
func parseUnix(l *line) (s UnixSocket) {
	l.number(l.upTo(':'), 16, 64) // the address of the socket, scrambled
	l.uint(16, 32)                // references
	l.uint(16, 32)                // protocol
	s.Flags = uint32(l.uint(16, 32))
	s.Type = int(l.uint(16, 16))
	s.State = int(l.uint(16, 8))
	s.Inode = l.uint(10, 64)
	if len(l.rest) > 0 {
		s.Path = string(l.rest[1:])
	}
	return s
}
