// Package cli is pilot's command line: it reads flags and pilot.yaml, asks the
// engine to act, and shows what came of it. It never touches a process itself.
//
// Results go to stdout, everything else to stderr in lines that start with
// "pilot:". docs/cli.md describes the commands and the exit statuses.
package cli

import (
	"context"
	"io"

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
	// Sweep erases what dead runs left behind and tells what it erased.
	Sweep(ctx context.Context, workDirs []string) ([]string, error)
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
	Version    string
	Engine     Engine
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
	a := &app{Env: env}
	status, err := a.dispatch(ctx, args)
	if err != nil {
		return a.fail(err)
	}
	return status
}

// An app is one invocation.
type app struct{ Env }

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
