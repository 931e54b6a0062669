//go:build linux

package kindtest

import (
	"os"
	"testing"

	"github.com/pilotexec/pilot/internal/testenv"
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
		testenv.Main(m)
	}
}

// The tracer must not be the parent of its tracees, so the test binary is
// executed again under this name.
const agentName = "pilot-kindtest-agent"
