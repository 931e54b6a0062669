//go:build linux

package spawn

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pilotexec/pilot/internal/plan"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// add bounds a process of the world.
func (w *World) add(pid int) error {
	if w.confine == nil {
		return nil
	}
	return w.confine.Add(pid)
}

// auditBounds makes sure that every thread of a process is bounded.
func (w *World) auditBounds(pid int) error {
	if w.confine == nil {
		return nil
	}
	tids, err := procfs.Tasks(pid)
	if err != nil {
		return err
	}
	return w.confine.Holds(tids)
}

// A Meter tells what a world writes. It may be used by another goroutine than
// the world's owner, and after the world has ended.
type Meter struct {
	dir      string
	init     int
	phantoms []int
	base     int64
}

// Meter begins to count what is written from now on. The phantoms must not run
// yet, or not have written anything of note.
func (w *World) Meter() (*Meter, error) {
	m := &Meter{dir: w.Dir, init: w.init.PID()}
	for _, ph := range w.phantoms {
		m.phantoms = append(m.phantoms, ph.lead.PID)
	}
	var err error
	m.base, err = m.taken(nil)
	return m, err
}

// taken is what the world's files take now.
func (m *Meter) taken(processes []int) (int64, error) {
	named, err := allocated(m.dir)
	return named + m.nameless(append(slices.Clone(m.phantoms), processes...)), err
}

// Written returns how much the world's files on disk have grown: its copies of
// the data, and the output of its processes. Phantoms, and processes, are looked
// at for files that have no name any more. Blocks that a copy shares with the image, and that
// were overwritten, are not seen; at most all of the data is of that sort.
func (m *Meter) Written(processes []int) (int64, error) {
	now, err := m.taken(processes)
	return max(0, now-m.base), err
}

// allocated sums the blocks of all files below dir, each once. Files that
// vanish meanwhile take nothing.
func allocated(dir string) (total int64, err error) {
	linked := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		var fi fs.FileInfo
		if err == nil {
			fi, err = e.Info()
		}
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok || linked[st.Ino] {
			return nil
		}
		if st.Nlink > 1 && !fi.IsDir() {
			linked[st.Ino] = true
		}
		total += 512 * st.Blocks
		return nil
	})
	return total, err
}

// nameless sums the files of the world's disk that only descriptors lead to.
func (m *Meter) nameless(processes []int) (total int64) {
	home, err := sys.Stat(m.dir)
	if err != nil {
		return 0
	}
	counted := map[uint64]bool{}
	for _, pid := range processes {
		fds, _ := procfs.FDs(pid)
		for _, fd := range fds {
			path := fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
			if link, err := os.Readlink(path); err != nil || !strings.HasSuffix(link, " (deleted)") {
				continue
			}
			fi, err := sys.Stat(path)
			if err == nil && fi.Nlink == 0 && fi.Dev == home.Dev && !counted[fi.Ino] {
				counted[fi.Ino] = true
				total += 512 * fi.Blocks
			}
		}
	}
	return total
}

// scratch are where a world's temporary file systems are mounted. What it writes
// to files of the host is kept in one for all, which is behind every overlay.
var scratch = []struct{ point, name string }{
	{"/", "files outside of the data, such as /tmp"}, {"/dev/shm", "/dev/shm"},
	{"/run", "/run"}, {"/var/run", "/var/run"},
}

// File systems, include/uapi/linux/magic.h. Of an overlay the kernel tells the
// size of its upper layer.
const (
	tmpfsMagic   = 0x01021994
	overlayMagic = 0x794c7630
)

// Scratch tells how full the world's temporary file systems are. After the
// world's end there are none.
func (m *Meter) Scratch() (out []plan.Scratch) {
	seen := map[uint64]bool{}
	for _, s := range scratch {
		path := fmt.Sprintf("/proc/%d/root%s", m.init, s.point)
		// A symbolic link would lead to the host's.
		if fi, err := os.Lstat(path); err != nil || !fi.IsDir() {
			continue
		}
		fi, err := sys.Stat(path)
		if err != nil || seen[fi.Dev] {
			continue
		}
		seen[fi.Dev] = true
		info, err := sys.Statfs(path)
		if err == nil && (info.Magic == tmpfsMagic || info.Magic == overlayMagic) {
			out = append(out, plan.Scratch{Path: s.name, Used: info.Used, Size: info.Total})
		}
	}
	return out
}
