package main

import (
	"context"
	"io"
	"os"

	"github.com/pilotexec/pilot/internal/agent"
	"github.com/pilotexec/pilot/internal/cli"
	"github.com/pilotexec/pilot/internal/demo"
	"github.com/pilotexec/pilot/internal/terminal"
	"github.com/pilotexec/pilot/internal/witness"
	"github.com/pilotexec/pilot/internal/worldinit"
)

// reexec takes over when this process is a part of a world, or was started to
// run among members in namespaces of their own.
func reexec() {
	worldinit.Reexec()
	agent.Reexec()
}

// engine is what touches processes.
func engine() cli.Engine { return agent.Engine{} }

// look reads what a run depends on.
var look = witness.Look

// showDemo runs the demonstration, with this binary as pilot.
func showDemo(ctx context.Context, stdout, stderr io.Writer) int {
	return demo.Show(ctx, exe(), stdout, stderr)
}

// exe is this binary, also where `go run` has put it.
func exe() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "/proc/self/exe"
}

// userTerminal is the one that a shell is typed to.
func userTerminal() cli.Terminal { return &terminal.User{} }

// inWorld reports whether this process runs in a world.
func inWorld() bool { return worldinit.Inside() }
