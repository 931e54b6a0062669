//go:build linux

package faulttest

import (
	"os"
	"testing"

	"github.com/pilotexec/pilot/internal/testenv"
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
		testenv.Main(m)
	}
}
