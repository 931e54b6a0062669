//go:build linux

package pagetrack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// f_type of statfs(2), include/uapi/linux/magic.h.
const (
	magicExt4 = 0xef53
	magicXFS  = 0x58465342
)

// fsJournalData is FS_JOURNAL_DATA_FL, chattr(1)'s j.
const fsJournalData = 0x4000

// Device returns why files of a file system cannot be tracked, by what
// statfs(2) and stat(2) say of it. It is empty when they can.
func Device(magic uint32, dev uint64) string {
	switch magic {
	case magicXFS:
		return ""
	case magicExt4:
	default:
		return "nobody knows how it marks pages"
	}
	// With data=journal ext4 has marks of its own (ext4_journalled_write_end). The
	// option is not shown among those of the mount when it is the file system's default.
	disk, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return err.Error()
	}
	options, err := os.ReadFile(filepath.Join("/proc/fs/ext4", filepath.Base(disk), "options"))
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(options)) {
		if strings.TrimSpace(line) == "data=journal" {
			return "data=journal"
		}
	}
	return ""
}

// Usual reports whether the content of fd goes the usual way: neither through
// the journal of ext4, nor past the page cache.
func Usual(fd sys.FD) bool {
	flags, err := sys.InodeFlags(fd)
	if err != nil || flags&fsJournalData != 0 {
		return false
	}
	dax, err := sys.DAX(fd)
	return err == nil && !dax
}
