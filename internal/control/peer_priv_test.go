//go:build linux

package control

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/testenv"
)

// TestPrivOthers has another user speak, whom neither the directory nor the mode
// of the socket keeps out.
func TestPrivOthers(t *testing.T) {
	testenv.Privileged(t)
	dir := testenv.Dir(t, "control")
	asked := make(chan live.Request, 1)
	s, err := Listen(dir, func(r live.Request) live.Answer { asked <- r; return live.Answer{} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(dir, name)
	for p, mode := range map[string]os.FileMode{dir: 0o755, path: 0o666} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	var conn net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is another user's for good
		const nobody = 65534
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			err = errno
			return
		}
		conn, err = net.Dial("unix", path)
	}()
	if <-done; err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var a live.Answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil || !strings.Contains(a.Error, "user 65534 may not") {
		t.Errorf("answer %+v (%v)", a, err)
	}
	select {
	case r := <-asked:
		t.Errorf("%+v was done", r)
	default:
	}
}
