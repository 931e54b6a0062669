// Pilot tries a recovery action in a fork of a running cluster, before it is
// done for real. See docs/cli.md.
package main

import (
	"os"
	"runtime/debug"

	"github.com/pilotexec/pilot/internal/cli"
)

func main() {
	reexec()
	os.Exit(run())
}

func run() int {
	user := userTerminal()
	ctx, stop := cancelled(user)
	defer stop()
	return cli.Main(ctx, os.Args[1:], cli.Env{
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Getenv:     os.Getenv,
		IsTerminal: isTerminal(os.Stdout),
		AsksPerson: isTerminal(os.Stdin),
		Version:    version(),
		Engine:     engine(),
		Look:       look,
		Terminal:   user,
		InWorld:    inWorld,
		Demo:       showDemo,
	})
}

// isTerminal reports whether f is a character device other than /dev/null,
// which is as much as colours need to know.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// version is that of the module, as the go command recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
