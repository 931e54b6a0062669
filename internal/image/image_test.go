//go:build linux

package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/sys"
)

// A testFS makes empty directories on one file system.
type testFS struct {
	name string
	dir  func(testing.TB) string
}

// fileSystems are those every test runs on: the one of the temporary directory
// and tmpfs.
func fileSystems(t testing.TB) []testFS {
	list := []testFS{{"temp", func(t testing.TB) string { return t.TempDir() }}}
	if info, err := sys.Statfs("/dev/shm"); err == nil && isMemory(info.Magic) {
		list = append(list, testFS{"tmpfs", func(t testing.TB) string {
			dir, err := os.MkdirTemp("/dev/shm", "pilot-image-")
			must(t, err)
			t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
			return dir
		}})
	} else {
		t.Log("no tmpfs at /dev/shm: not tested there")
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}
