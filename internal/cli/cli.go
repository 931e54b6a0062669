// Package cli is pilot's command line: it reads flags and pilot.yaml, asks the
// engine to act, and shows what came of it. It never touches a process itself.
//
// Results go to stdout, everything else to stderr in lines that start with
// "pilot:". docs/cli.md describes the commands and the exit statuses.
package cli

import (
	"context"
	"io"
	"time"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
)

// Engine is what the commands need of the agent. cmd/pilot passes the real one;
// tests pass a fake.
type Engine interface {
	// Find resolves processes to members: by executable base name or argument
	// substring, or by pid. It never finds pilot itself.
	Find(ctx context.Context, match string, pids []int) ([]model.Member, error)
	// Doctor says of each member of spec whether it can be piloted. Without
	// members it says so of the kernel.
	Doctor(ctx context.Context, spec model.Spec) ([]model.Diagnosis, error)
	// Run pilots spec. It reports phases ("snapshot", "spawn", ...) through
	// progress, from one goroutine at a time.
	Run(ctx context.Context, spec model.Spec, workDir string, progress func(phase, text string)) (*model.Report, error)
	// Series pilots spec as s says, from one snapshot, and tells a report for each
	// trial; those of finished rounds also when it returns an error.
	Series(ctx context.Context, spec model.Spec, s model.Series, workDir string, progress func(phase, text string), told func(*model.Report)) error
	// Sweep erases what dead runs left behind and tells what it erased.
	Sweep(ctx context.Context, workDirs []string) ([]string, error)
}

// A Terminal is one at which a shell can be typed to.
type Terminal interface {
	live.Terminal
	// Check says why nobody can type there, or nothing.
	Check() error
}

// Env is the world of a command. Everything but the streams may be zero.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Environ and Dir are where the action starts; by default those of this
	// process.
	Environ []string
	Dir     string
	// IsTerminal says that Stdout shows to a person.
	IsTerminal bool
	// AsksPerson says that a person can be asked: Stdin is a terminal.
	AsksPerson bool
	Version    string
	Engine     Engine
	// Look reads how the things are that a run depends on, and pilot.yaml where its
	// path is not empty. Without it no run can be applied.
	Look func(ctx context.Context, spec model.Spec, config string) (drift.Fingerprint, error)
	// Now is the clock, by default the host's.
	Now func() time.Time
	// Terminal is the user's, nil where there is none.
	Terminal Terminal
	// InWorld reports whether this process runs in a world already.
	InWorld func() bool
	// Demo runs the demonstration and returns an exit status.
	Demo func(ctx context.Context, stdout, stderr io.Writer) int
}

// Exit statuses, as docs/cli.md promises them.
const (
	ExitPass      = 0
	ExitError     = 1   // pilot itself failed, nothing is known
	ExitFail      = 2   // the recovery would fail or do harm
	ExitUnknown   = 3   // it ran, but is not proven
	ExitRefused   = 4   // refused before anything was stopped
	ExitUsage     = 64  // EX_USAGE of sysexits.h
	ExitCancelled = 130 // 128 + SIGINT, as shells do
)

// Main runs the command that args, without the program's name, ask for, and
// returns the exit status.
func Main(ctx context.Context, args []string, env Env) int {
	if env.Getenv == nil {
		env.Getenv = func(string) string { return "" }
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	a := &app{Env: env}
	status, err := a.dispatch(ctx, args)
	if err != nil {
		return a.fail(err)
	}
	return status
}

// An app is one invocation.
type app struct {
	Env
	// outcome says more about a run that was cancelled.
	outcome string
}

func (a *app) dispatch(ctx context.Context, args []string) (int, error) {
	if len(args) == 0 {
		usage(a.Stderr)
		return ExitUsage, nil
	}
	switch args[0] {
	case "-h", "-help", "--help":
		args = []string{"help"}
	case "-version", "--version":
		args = []string{"version"}
	}
	c, err := find(args[0])
	if err != nil {
		return 0, err
	}
	return c.run(ctx, a, args[1:])
}
