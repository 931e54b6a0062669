//go:build linux

package kobj

import (
	"fmt"
	"os"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// inotify watches files and directories, inotify(7). Events that were not read
// yet are not kept.
type inotify struct{}

type watch struct {
	wd   int
	mask uint32
	path string // on the host, at the time of the capture; empty when unknown
}

func (inotify) Name() string { return "inotify" }

func (inotify) Match(src *Source) bool {
	return src.Link == "anon_inode:inotify" || src.Link == "anon_inode:[inotify]"
}

func (inotify) Capture(src *Source) (any, error) {
	var watches []watch
	for _, e := range src.Info.Inotify {
		watches = append(watches, watch{wd: e.WD, mask: e.Mask, path: pathOfHandle(e.FHandleType, e.FHandle)})
	}
	return watches, nil
}

// pathOfHandle finds the path of a watched inode by its file handle, which
// works on the file system of the root directory, open_by_handle_at(2).
func pathOfHandle(typ int, handle []byte) string {
	if len(handle) == 0 {
		return ""
	}
	fd, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(int32(typ), handle), unix.O_PATH)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	path, err := os.Readlink(fmt.Sprintf("/proc/thread-self/fd/%d", fd))
	if err != nil {
		return ""
	}
	return path
}

func (inotify) Restore(w *World, d *Description) (sys.FD, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | d.Flags&unix.O_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("inotify_init1", err)
	}
	// Watch numbers are given out in order, so the gaps are filled and freed.
	next := 1
	for _, want := range sortedWatches(d.State.([]watch)) {
		path := want.path
		if path == "" {
			w.Gap(d, fmt.Sprintf("watch %d: its path is not known, it stays silent", want.wd))
			continue
		}
		for ; next <= want.wd; next++ {
			mask := want.mask &^ unix.IN_ISDIR
			if next < want.wd {
				mask = unix.IN_ATTRIB
			}
			wd, err := unix.InotifyAddWatch(fd, path, mask&0xfff|mask&(unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW|unix.IN_EXCL_UNLINK|unix.IN_ONESHOT))
			if err != nil {
				w.Gap(d, fmt.Sprintf("watch %d on %s: %v", want.wd, path, err))
				break
			}
			if wd < want.wd {
				_, _ = unix.InotifyRmWatch(fd, uint32(wd))
			}
		}
	}
	return sys.FD(fd), dropEvents(fd)
}

// dropEvents reads what the making of the gaps has left.
func dropEvents(fd int) error {
	for {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil || n == 0 {
			return os.NewSyscallError("ioctl fionread", err)
		}
		if _, err := unix.Read(fd, make([]byte, n)); err != nil {
			return os.NewSyscallError("read inotify", err)
		}
	}
}

func sortedWatches(in []watch) []watch {
	out := append([]watch(nil), in...)
	for i := range out {
		for j := i; j > 0 && out[j].wd < out[j-1].wd; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}
