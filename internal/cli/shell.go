package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// shellTimeout is how long a shell may be open.
const shellTimeout = 30 * time.Minute

var shellCommand = command{
	name: "shell", args: "[flags]",
	short: "type commands in a fork of the running cluster",
	long: `Forks the members, and opens a shell in the fork. After its end what the commands
did is compared with a second fork in which nothing was done, and reported as
that of pilot run. What the shell may do has no effect on production.

In there, pilot run -- CMD runs CMD in that same fork.

Examples:
  pilot shell --match etcd
  pilot shell -f pilot.yaml --timeout 2h`,
	setup: func(a *app, flags *flag.FlagSet) action {
		o := &runOptions{target: targetFlags(flags), display: displayFlags(flags)}
		flags.Var(&o.checks, "check", "shell `command` that succeeds when the cluster is healthy; repeatable")
		flags.Var(&o.preserve, "preserve", "shell `command` that must go on to print each line it prints before the shell; repeatable")
		flags.Var(&o.egress, "egress", "`peer=policy` of what is outside: deny, allow-read, stub, refuse-run; repeatable")
		o.target.setting(flags, "timeout", "end the shell after this `duration` (default 30m)")
		o.target.setting(flags, "settle", "watch the fork for this `duration` after the shell's end (default 5s)")
		o.target.setting(flags, "patience", "watch on for at most this `duration` while checks fail (default 30s)")
		o.target.setting(flags, "trace", "tell `how much` of what happens in the forks: off, effects, full (default effects)")
		flags.BoolVar(&o.quiet, "q", false, "no progress on stderr")
		return func(ctx context.Context, operands []string) (int, error) { return a.shell(ctx, o, operands) }
	},
}

func (a *app) shell(ctx context.Context, o *runOptions, operands []string) (int, error) {
	if err := noOperands("shell", operands); err != nil {
		return 0, err
	}
	if a.InWorld != nil && a.InWorld() {
		return 0, &model.UsageError{Err: errors.New("this is a shell in a world already"), Hint: "exit ends it and shows its report"}
	}
	err := errors.New("there is no terminal")
	if a.Terminal != nil {
		err = a.Terminal.Check()
	}
	if err != nil {
		return 0, &model.UsageError{Err: fmt.Errorf("nobody can type to a shell: %w", err), Hint: "for a script: pilot run -- sh script"}
	}
	spec, err := a.spec(ctx, o, a.shellCommand())
	if err != nil {
		return 0, err
	}
	spec.Shell = true
	// pilot.yaml and PILOT_TIMEOUT bound commands: people type more slowly.
	if o.target.settings["timeout"] == "" {
		spec.Timeout = shellTimeout
	}
	return a.pilot(ctx, o, spec)
}

// shellCommand is the user's shell if it is one whose prompt can be set from
// outside, else bash or sh. It reads no files of the user's, which set the prompt.
func (a *app) shellCommand() []string {
	path := a.Getenv("SHELL")
	if !slices.Contains([]string{"bash", "sh", "dash", "ksh"}, filepath.Base(path)) {
		path = "sh"
		if bash, err := exec.LookPath("bash"); err == nil {
			path = bash
		}
	}
	if filepath.Base(path) == "bash" {
		return []string{path, "--norc", "--noprofile", "-i"}
	}
	return []string{path, "-i"}
}

// worldEnv is the environment of a shell in a world of run id: whoever types, and
// every program, shall see where they are.
func worldEnv(env []string, id string) []string {
	return append(slices.Clone(env), "PILOT_WORLD="+id, "HISTFILE=", "PS1=[pilot world "+id+"] # ")
}

// runHere runs a command in the world that this process is in already. Its exit
// status is ours, and a part of the report of the world's run.
func (a *app) runHere(operands []string) (int, error) {
	args, err := lookup(operands)
	if err != nil {
		return 0, err
	}
	fmt.Fprintln(a.Stderr, "pilot: this is a world already: CMD runs in it, flags have no effect, and the report is that of the world's run")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
	cmd.Dir, cmd.Env = a.Dir, a.Environ
	err = cmd.Run()
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return ExitPass, err
	}
	if code := exit.ExitCode(); code >= 0 {
		return code, nil
	}
	return ExitError, fmt.Errorf("command %s: %w", args[0], err) // a signal
}
