//go:build linux

package kindtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/victim"
	"github.com/pilotexec/pilot/internal/worldinit"
)

func TestMain(m *testing.M) {
	worldinit.Reexec()
	if len(os.Args) == 4 && os.Args[1] == visitVerb {
		visit(os.Args[2], os.Args[3])
	}
	switch os.Args[0] {
	case victim.Name:
		victim.Main()
	case agentName:
		agentMain()
	default:
		code := m.Run()
		if left := leftovers(); len(left) > 0 && code == 0 {
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
		os.Exit(code)
	}
}

// leftovers names what tests of this process have left: processes and files.
func leftovers() (out []string) {
	out, _ = filepath.Glob("/var/tmp/" + prefix + "*")
	tasks, _ := procfs.Tasks(os.Getpid())
	for _, tid := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", tid))
		for pid := range strings.FieldsSeq(string(children)) {
			out = append(out, "process "+pid)
		}
	}
	return out
}

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-kindtest-agent"

// prefix begins the names of this process's directories in /var/tmp.
var prefix = fmt.Sprintf("pilot-kind-%d-", os.Getpid())

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
