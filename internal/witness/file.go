package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pilotexec/pilot/internal/drift"
)

// mostRead bounds the files whose content is read. Larger ones are told apart by
// size and time.
const mostRead = 64 << 20

// emptySum is the SHA-256 of nothing.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// A key names the content of a file as far as the file system tells.
type key struct {
	dev, inode uint64
	size       int64
	mtime      int64
}

// A reader reads each file once: members often run the same program.
type reader struct{ sums map[key]string }

// file reads what path leads to.
func (r reader) file(path string) drift.File {
	f := at(path)
	if f.Err != "" || f.Inode == 0 || !strings.HasPrefix(f.Mode, "-") || f.Size > mostRead {
		return f
	}
	if f.Size == 0 { // nothing is read of it: files of /proc may never end
		f.Sum = emptySum
		return f
	}
	k := key{f.Dev, f.Inode, f.Size, f.Mtime.UnixNano()}
	if sum, known := r.sums[k]; known {
		f.Sum = sum
		return f
	}
	sum, err := hashed(path)
	if err != nil {
		f.Err = cause(err)
		return f
	}
	r.sums[k], f.Sum = sum, sum
	return f
}

// at is what is known of path without reading it. A path that leads nowhere has
// no inode.
func at(path string) drift.File {
	f := drift.File{Path: path}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f
	case err != nil:
		f.Err = cause(err)
		return f
	}
	f.Size, f.Mode, f.Mtime = fi.Size(), fi.Mode().String(), fi.ModTime().UTC()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		f.Dev, f.Inode = uint64(st.Dev), st.Ino
	}
	return f
}

func hashed(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// cause is err without the path, which stands beside it.
func cause(err error) string {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return err.Error()
}

// named are the program of an action and the files that its arguments name: as a
// whole, behind an equal sign, or as a word of a line for a shell. Files of
// members that run are left out, since these write to them, and those of the kernel.
func named(action []string, dir string, env, live []string) (paths []string) {
	add := func(path string) bool {
		fi, err := os.Stat(path)
		if err != nil || !fi.Mode().IsRegular() {
			return false
		}
		if !slices.Contains(paths, path) && !within(path, live) && !within(path, []string{"/proc", "/sys"}) {
			paths = append(paths, path)
		}
		return true
	}
	for i, arg := range action {
		if i == 0 {
			paths = append(paths, absolute(arg, dir)) // also when it is gone
			continue
		}
		for _, word := range words(arg) {
			if add(absolute(word, dir)) || strings.Contains(word, "/") {
				continue
			}
			for _, d := range filepath.SplitList(variable(env, "PATH")) {
				if filepath.IsAbs(d) && add(filepath.Join(d, word)) {
					break
				}
			}
		}
	}
	return paths
}

// absolute is path as a process in dir means it.
func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// words are the parts of an argument that may name a file.
func words(arg string) []string {
	parts := strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()<>\"'`=", r) })
	if len(parts) == 1 && parts[0] == arg {
		return parts
	}
	return append([]string{arg}, parts...)
}

func variable(env []string, name string) (value string) {
	for _, e := range env {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			value = v // the last counts, as for execve's callers
		}
	}
	return value
}

func within(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/") })
}
