//go:build linux

package worldinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Change is a file of the host that the world has otherwise. Sign is "+" for
// one that the host does not have, "~" for one that it has, and "-" for one that
// the world has removed. Sizes are in bytes.
type Change struct {
	Sign, Path string
	Old, New   int64
}

// maxChanges bounds the list of [Process.Changes].
const maxChanges = 1000

var errMore = errors.New("more changes")

// Changes lists what the world has written to files of the host outside of its
// data, which is in the upper layers. Temporary directories are left out. more
// is set when there is more than can be listed.
func (p *Process) Changes() (list []Change, more bool, err error) {
	for i, layer := range p.layers {
		upper := fmt.Sprintf("/proc/self/fd/%d/%d/u", p.upper.Fd(), i)
		err := filepath.WalkDir(upper, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			there := filepath.Join(layer, strings.TrimPrefix(path, upper))
			if e.IsDir() {
				if slices.Contains(temporary, there) {
					return fs.SkipDir
				}
				return nil
			}
			if len(list) == maxChanges {
				return errMore
			}
			c, err := changeOf(path, there, e)
			if c.Sign != "" {
				list = append(list, c)
			}
			return err
		})
		switch {
		case errors.Is(err, errMore):
			return list, true, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist): // the layer of a single file has none
			return list, false, err
		}
	}
	return list, false, nil
}

// temporary are directories in which everything is thrown away anyhow.
var temporary = []string{"/tmp", "/var/tmp"}

// changeOf compares a file of an upper layer with the host's. A whiteout, which
// hides the host's file, is a device with number 0, overlayfs(5).
func changeOf(upper, host string, e fs.DirEntry) (c Change, err error) {
	fi, err := e.Info()
	if err != nil {
		return c, err
	}
	c = Change{Sign: "+", Path: host, New: fi.Size()}
	if was, err := os.Lstat(host); err == nil {
		c.Sign, c.Old = "~", was.Size()
	}
	var st unix.Stat_t
	if err := unix.Lstat(upper, &st); err != nil {
		return Change{}, os.NewSyscallError("lstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return c, nil
	}
	if c.Sign == "+" {
		return Change{}, nil // made and removed in the world
	}
	c.Sign, c.New = "-", 0
	return c, nil
}

// upperOf is where the upper layer of the i-th file system is.
func upperOf(i int) string { return filepath.Join(upperRoot, strconv.Itoa(i)) }
