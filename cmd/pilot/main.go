// Pilot tries a recovery action in a fork of a running cluster, before it is
// done for real. See docs/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/pilotexec/pilot/internal/cli"
)

func main() {
	reexec()
	os.Exit(run())
}

func run() int {
	// The first signal cancels: production is let go, what was made is erased.
	// Then signals act as usual again, so that a second Ctrl-C ends pilot at
	// once, which harms no one but leaves work for pilot gc.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], cli.Env{
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Getenv:     os.Getenv,
		IsTerminal: isTerminal(os.Stdout),
		Version:    version(),
		Engine:     engine(),
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
