package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pilotexec/pilot/internal/cli"
)

// restorer is a terminal that may have to be given back.
type restorer interface{ Restore() error }

// cancelled returns a context that the first signal cancels: production is let
// go, what was made is erased. The second ends pilot at once, which harms no one:
// the kernel lets go of production when its tracer dies, worlds end with their
// agent. But files are left, and perhaps memory and control groups.
func cancelled(user any) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for range 2 {
			select {
			case <-done:
				return
			case <-signals:
			}
			if ctx.Err() == nil {
				cancel()
				continue
			}
			if t, ok := user.(restorer); ok {
				_ = t.Restore()
			}
			fmt.Fprintln(os.Stderr, "pilot: ended at once: production goes on, the worlds end; pilot gc erases what is left of them")
			os.Exit(cli.ExitCancelled)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
