package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/nearest"
)

// A command is one word of pilot's command line.
type command struct {
	name  string
	args  string // its operands, for the usage line
	short string // one line, without a full stop
	long  string // paragraphs for its help
	// operand is what completion offers for operands: "run", "command",
	// "shell", "help" or nothing.
	operand string
	// setup declares flags on fs and returns what to do once they are parsed.
	setup func(a *app, fs *flag.FlagSet) action
	// hidden keeps it out of the overview.
	hidden bool
}

// An action does a command's work and returns the exit status.
type action func(ctx context.Context, operands []string) (int, error)

// commands is everything that can be typed after "pilot". It is a function
// because help and completion look into it.
func commands() []command {
	return []command{
		runCommand,          // run.go
		compareCommand,      // compare.go
		applyCommand,        // apply.go
		shellCommand,        // shell.go
		statusCommand,       // live.go
		stopCommand,         // live.go
		extendCommand,       // live.go
		reportCommand,       // report.go
		treeCommand,         // tree.go
		doctorCommand,       // doctor.go
		psCommand,           // ps.go
		rmCommand,           // rm.go
		gcCommand,           // gc.go
		demoCommand,         // demo.go
		probeCommand,        // probe.go
		versionCommand,      // version.go
		completionCommand(), // completion.go
		helpCommand(),       // help.go
	}
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func find(name string) (command, error) {
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
	}
	hint := "pilot help lists the commands"
	if guess := nearest.To(name, commandNames()); guess != "" {
		hint = fmt.Sprintf("did you mean %q?", "pilot "+guess)
	}
	return command{}, &model.UsageError{Err: fmt.Errorf("unknown command %q", name), Hint: hint}
}

// run parses args and acts.
func (c command) run(ctx context.Context, a *app, args []string) (int, error) {
	fs := c.flagSet()
	act := c.setup(a, fs)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		c.help(a.Stdout)
		return ExitPass, nil
	case err != nil:
		return 0, c.flagError(fs, err)
	}
	operands := fs.Args()
	if c.operand != "command" { // whose flags are its own
		for i := 0; i < len(operands); i++ {
			if err := fs.Parse(operands[i+1:]); err != nil { // flags may follow an operand
				return 0, c.flagError(fs, err)
			}
			operands = append(operands[:i+1:i+1], fs.Args()...)
		}
	}
	return act(ctx, operands)
}

func (c command) flagSet() *flag.FlagSet {
	fs := flag.NewFlagSet("pilot "+c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// flagError puts an error of package flag into our words.
func (c command) flagError(fs *flag.FlagSet, err error) error {
	hint := fmt.Sprintf("pilot help %s lists the flags", c.name)
	msg := err.Error()
	if name, ok := strings.CutPrefix(msg, "flag provided but not defined: -"); ok {
		if guess := nearest.To(name, flagNames(fs)); guess != "" {
			hint = fmt.Sprintf("did you mean %s?", dashed(guess))
		}
		return &model.UsageError{Err: fmt.Errorf("unknown flag %s", dashed(name)), Hint: hint}
	}
	if name, ok := strings.CutPrefix(msg, "flag needs an argument: -"); ok {
		return &model.UsageError{Err: fmt.Errorf("flag %s needs a value", dashed(name)), Hint: hint}
	}
	// invalid value "x" for flag -timeout: why
	if _, tail, ok := strings.Cut(msg, " for flag -"); ok {
		name, why, _ := strings.Cut(tail, ": ")
		return &model.UsageError{Err: fmt.Errorf("%s: %s", dashed(name), why), Hint: hint}
	}
	return &model.UsageError{Err: err, Hint: hint}
}

// dashed is a flag as people write it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func flagNames(fs *flag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// noOperands refuses operands.
func noOperands(name string, operands []string) error {
	if len(operands) == 0 {
		return nil
	}
	return &model.UsageError{Err: fmt.Errorf("pilot %s takes no operand, got %q", name, operands[0]), Hint: fmt.Sprintf("pilot help %s", name)}
}
