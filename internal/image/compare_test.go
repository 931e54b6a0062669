//go:build linux

package image

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/sys"
)

// describe tells of everything below root that a copy must keep, one line a name.
// It is written without the package's own walk.
func describe(t testing.TB, root string) map[string]string {
	t.Helper()
	lines := map[string]string{}
	links := map[inodeID][]string{}
	var paths []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stats := map[string]*syscall.Stat_t{}
	for _, path := range paths {
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&syscall.S_IFMT == syscall.S_IFSOCK {
			continue
		}
		stats[path] = &st
		links[inodeID{st.Dev, st.Ino}] = append(links[inodeID{st.Dev, st.Ino}], strings.TrimPrefix(path, root))
	}
	for path, st := range stats {
		xattrs, err := sys.Xattrs(path, false)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(xattrs, func(a, b sys.Xattr) int { return strings.Compare(a.Name, b.Name) })
		line := fmt.Sprintf("mode %o owner %d:%d mtime %v xattrs %q", st.Mode, st.Uid, st.Gid, st.Mtim, xattrs)
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			line += fmt.Sprintf(" size %d atime %v links %d %q", st.Size, st.Atim, st.Nlink, links[inodeID{st.Dev, st.Ino}])
		case syscall.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				t.Fatal(err)
			}
			line += " -> " + target
		}
		lines[strings.TrimPrefix(path, root)] = line
	}
	return lines
}

// read leaves the access time alone, which is compared as well.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOATIME, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// remember describes all of a tree, contents by their digest.
func remember(t testing.TB, root string) map[string]string {
	t.Helper()
	lines := describe(t, root)
	for rel, line := range lines {
		if strings.Contains(line, " size ") {
			lines[rel] += " content " + digest(t, root+rel)
		}
	}
	return lines
}

func digest(t testing.TB, path string) string {
	t.Helper()
	p, err := read(path)
	must(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(p))
}

func mustMatch(t testing.TB, says string, want, got map[string]string) {
	t.Helper()
	for rel, line := range want {
		if got[rel] != line {
			t.Errorf("%s: %q\nwant %s\ngot  %s", says, rel, line, got[rel])
		}
	}
	for rel, line := range got {
		if want[rel] == "" {
			t.Errorf("%s: %q is too much: %s", says, rel, line)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// mustEqual fails unless the trees a and b are the same in every byte and
// attribute.
func mustEqual(t testing.TB, a, b string) {
	t.Helper()
	x, y := describe(t, a), describe(t, b)
	for rel, line := range x {
		if y[rel] != line {
			t.Errorf("%s%s\nsource: %s\ncopy:   %s", a, rel, line, y[rel])
		}
		if strings.Contains(line, " size ") {
			sameBytes(t, a+rel, b+rel)
		}
	}
	for rel := range y {
		if x[rel] == "" {
			t.Errorf("%s%s is only in the copy", a, rel)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func sameBytes(t testing.TB, a, b string) {
	t.Helper()
	x, err := read(a)
	if err != nil {
		t.Error(err)
		return
	}
	y, err := read(b)
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(x, y) {
		at := 0
		for at < min(len(x), len(y)) && x[at] == y[at] {
			at++
		}
		t.Errorf("%s (%d bytes) and %s (%d bytes) differ at %d", a, len(x), b, len(y), at)
	}
}
