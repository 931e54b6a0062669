//go:build linux

package membertest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/filter"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/testenv"
	"golang.org/x/sys/unix"
)

// TestPrivKillAgentFiltered kills agents at random moments. The victim's filter
// kills it for any call that is not in its list, so that every way back which
// an orphaned thread takes is under test.
func TestPrivKillAgentFiltered(t *testing.T) {
	id := ordinary()
	id.NoNewPrivs, id.Filter = true, containerFilter(append(without(dockerAllowed), unix.SYS_USTAT), filter.KillProcess)
	s := stage(t, member{"member", id})
	whole := time.Now()
	s.fork(t)
	span := time.Since(whole)
	began := threadsOf(t, s.members[0].PID)
	const kills = 30
	for i := range kills {
		input, err := json.Marshal(request{Members: s.members, Dir: filepath.Join(s.dir, "killed")})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Args, cmd.Stdin = []string{agentName}, bytes.NewReader(input)
		if err := s.space.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		// Most moments that matter are in the first half: the rest is waiting.
		time.Sleep(rand.N(span/2 + 1))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if n, bad := progress(s.logs[0]); len(bad) > 0 {
			t.Fatalf("after kill %d: %d of %d rounds went wrong, first %q", i, len(bad), n, bad[0])
		}
		// Phantoms that are being killed may still write to their copies.
		testenv.WaitFor(t, "the killed agent's files go", func() bool { return os.RemoveAll(filepath.Join(s.dir, "killed")) == nil })
	}
	s.wantAlive(t)
	// Helpers end themselves; the program may have made some threads of its own.
	testenv.WaitFor(t, "helpers end", func() bool { return threadsOf(t, s.members[0].PID) <= began+3 })
	s.fork(t)
}

func threadsOf(t *testing.T, pid int) int {
	t.Helper()
	tids, err := procfs.Tasks(pid)
	if err != nil {
		t.Fatal(err)
	}
	return len(tids)
}
