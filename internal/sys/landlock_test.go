//go:build linux

package sys

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLandlockRuleset(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	for _, path := range []string{in, out} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := OpenDir(filepath.Dir(in))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ruleset, err := LandlockRuleset(dir)
	if errors.Is(err, ErrNotSupported) {
		t.Skip("no Landlock")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ruleset.Close()
	results := make(chan [3]error)
	go func() {
		runtime.LockOSThread() // never given back: it stays restricted
		var r [3]error
		if r[0] = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); r[0] == nil {
			if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
				r[0] = errno
			}
		}
		for i, path := range []string{in, out} {
			fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if r[i+1] = err; err == nil {
				_ = unix.Close(fd)
			}
		}
		results <- r
	}()
	if r := <-results; r[0] != nil || r[1] != nil || !errors.Is(r[2], unix.EACCES) {
		t.Errorf("restrict: %v, inside: %v, outside: %v", r[0], r[1], r[2])
	}
}
