//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/worldinit"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	switch os.Args[0] {
	case agentName:
		agentMain()
	case goVictimName:
		goVictimMain(os.Args[1])
	default:
		code := m.Run()
		if left, _ := filepath.Glob("/var/tmp/" + prefix + "*"); len(left) > 0 && code == 0 {
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
		os.Exit(code)
	}
}

// prefix begins the names of this process's directories in /var/tmp.
var prefix = fmt.Sprintf("pilot-fault-%d-", os.Getpid())

// privileged skips t when processes cannot be forked here. Under
// PILOT_REQUIRE_PRIVILEGED it fails instead: green must mean that something ran.
func privileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PILOT_REQUIRE_PRIVILEGED") != "" {
		t.Fatal("privileged test cannot run: not root")
	}
	t.Skip("needs root")
}

// tempDir is a directory on a disk, erased with the test.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
