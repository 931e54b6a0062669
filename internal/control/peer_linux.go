package control

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/sys"
)

// shorten returns a path to the socket that fits sun_path, 108 bytes, wherever
// dir is: by a descriptor, which must stay open meanwhile.
func shorten(dir string) (*os.File, string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, "", err
	}
	return d, filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), name), nil
}

// peerUID is who connected, as the kernel knows it: unix(7), SO_PEERCRED.
func peerUID(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { uid, err = sys.PeerUser(sys.FD(fd)) })
	if cerr != nil {
		return 0, cerr
	}
	return uid, err
}
