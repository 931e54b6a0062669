package cli

import (
	"context"
	"flag"
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

var reportCommand = command{
	name: "report", args: "[-o text|json] [RUN]", operand: "run",
	short: "read a finished run again, by default the latest",
	long: `RUN is an id of pilot ps, the start of one, or "latest". The exit status is 0
when the report could be shown, whatever the verdict.`,
	setup: func(a *app, fs *flag.FlagSet) action {
		f := formatFlags(fs)
		return func(_ context.Context, operands []string) (int, error) { return a.report(*f, operands) }
	},
}

func (a *app) report(f format, operands []string) (int, error) {
	name := "latest"
	switch len(operands) {
	case 0:
	case 1:
		name = operands[0]
	default:
		return 0, &model.UsageError{Err: fmt.Errorf("pilot report takes one run, got %d", len(operands)), Hint: "pilot ps lists the runs"}
	}
	store, err := a.store()
	if err != nil {
		return 0, err
	}
	r, err := store.Load(name)
	if err != nil {
		return 0, err
	}
	return ExitPass, a.show(r, f)
}
