//go:build linux

package kindtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
)

// A descriptor is what can be seen of one from outside.
type descriptor struct {
	link  string
	sort  string // of object
	flags int
}

func descriptors(members []model.Member) (out []map[int]descriptor) {
	for _, m := range members {
		out = append(out, descriptorsOf(m.PID))
	}
	return out
}

func descriptorsOf(pid int) map[int]descriptor {
	out := map[int]descriptor{}
	fds, _ := procfs.FDs(pid)
	for _, fd := range fds {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil {
			continue
		}
		info, err := procfs.ReadFDInfo(pid, fd)
		if err != nil {
			continue
		}
		sort := link
		switch {
		case strings.HasPrefix(link, "/memfd:"), strings.HasPrefix(link, "/dev/"), strings.HasPrefix(link, "anon_inode:"):
		case strings.HasPrefix(link, "/"):
			sort = filepath.Base(link) // a world's copy is elsewhere
		default:
			sort, _, _ = strings.Cut(link, ":")
		}
		// The bit says nothing, and only objects that were opened have it.
		const largeFile = 0o100000
		out[fd] = descriptor{link, sort, info.Flags &^ largeFile}
	}
	return out
}

// compare wants the phantom to have the descriptors that the origin had all
// the time, with their flags, close-on-exec included.
func (o *outcome) compare(before, after, phantom map[int]descriptor) {
	for fd, d := range before {
		if after[fd] != d {
			continue // comes and goes
		}
		got, ok := phantom[fd]
		// What writes to a terminal, or to a file outside, has another place, and
		// so has what tells of a thread.
		if strings.HasPrefix(d.link, "/proc/") || strings.HasPrefix(d.sort, "/dev/pts") || strings.HasSuffix(d.sort, "(deleted)") || fd == 2 {
			d.sort, d.flags, got.sort, got.flags = "", 0, "", 0
		}
		if !ok || got.sort != d.sort || got.flags != d.flags {
			o.problem("fd %d is %+v, in the origin it is %+v", fd, got, d)
		}
	}
}
