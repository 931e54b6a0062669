//go:build linux

package worldinit

import (
	"os"

	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// markerPath is a file that only worlds have: their /dev is made by build, and
// nobody else has reason to make one of this name.
const markerPath = "/dev/pilot-world"

// Inside reports whether this process is in a world, where what it does has no
// effect on production. In doubt it is not: it must also be under a filter, as
// all of a world is. A variable of the environment would not do, since it may
// come to where it does not belong.
func Inside() bool {
	fi, err := os.Lstat(markerPath)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	s, err := procfs.ReadStatus(os.Getpid())
	return err == nil && s.Seccomp == unix.SECCOMP_MODE_FILTER
}
