//go:build linux

package supervise

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/seal"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A disk is what a member has to do with.
type disk struct {
	delay time.Duration // of each call that waits for it
	full  []string      // directories and files for which there is no room
}

// Delay has a member wait so much longer for its disks, from now on.
func (s *Supervisor) Delay(member string, by time.Duration) {
	s.change(member, func(d *disk) { d.delay = by })
}

// Fill leaves a member no room in directories or files, as it calls them, from now
// on; none makes room again.
func (s *Supervisor) Fill(member string, data []string) {
	s.change(member, func(d *disk) { d.full = data })
}

func (s *Supervisor) change(member string, f func(*disk)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disks == nil {
		s.disks = map[string]disk{}
	}
	d := s.disks[member]
	f(&d)
	s.disks[member] = d
}

func (s *Supervisor) disk(member string) disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disks[member]
}

// block is the size of a block of struct stat.
const block = 512

// noRoom reports whether a call writes to a file below one of the paths, behind
// what that has on its disk already.
func noRoom(n sys.Notification, rule seal.Rule, paths []string) bool {
	status, err := procfs.ReadStatus(int(n.TID))
	if err != nil {
		return false
	}
	fd := int(int32(n.Args[rule.File]))
	link := fmt.Sprintf("/proc/%d/fd/%d", status.Tgid, fd)
	path, err := os.Readlink(link)
	if err != nil || !below(path, paths) {
		return false
	}
	fi, err := os.Stat(link)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	end, ok := writeEnd(n, rule, status.Tgid, fd, fi)
	return ok && end > fi.Sys().(*syscall.Stat_t).Blocks*block
}

func below(path string, roots []string) bool {
	for _, r := range roots {
		if rest, found := strings.CutPrefix(path, r); found && (rest == "" || rest[0] == '/' || rest == " (deleted)") {
			return true
		}
	}
	return false
}

// writeEnd is where in the file a call would end to write, if it writes anything.
func writeEnd(n sys.Notification, rule seal.Rule, pid, fd int, fi fs.FileInfo) (int64, bool) {
	length := int64(n.Args[rule.Length])
	if rule.Vector {
		length = vectorLength(int(n.TID), n.Args[rule.Length-1], n.Args[rule.Length])
	}
	if length <= 0 {
		return 0, false
	}
	if rule.Offset > 0 {
		// pwritev2 takes -1 for the file's own offset.
		if at := int64(n.Args[rule.Offset]); at >= 0 {
			return at + length, true
		}
	}
	info, err := procfs.ReadFDInfo(pid, fd)
	if err != nil {
		return 0, false
	}
	if info.Flags&unix.O_APPEND != 0 {
		return fi.Size() + length, true
	}
	return info.Pos + length, true
}

// mostVectors is how many there may be in one call, IOV_MAX.
const mostVectors = 1024

// vectorLength adds up an array of struct iovec of the caller.
func vectorLength(tid int, addr, count uint64) (sum int64) {
	buf := make([]byte, 16*min(count, mostVectors))
	if got, err := readMemory(tid, addr, buf); err != nil || got < len(buf) {
		return 0 // it fails by itself
	}
	for ; len(buf) >= 16; buf = buf[16:] {
		sum += int64(binary.NativeEndian.Uint64(buf[8:]))
	}
	return sum
}
