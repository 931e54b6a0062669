package cli

import (
	"context"
	"flag"
	"fmt"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
)

var reportCommand = command{
	name: "report", args: "[-o text|json|html] [--html FILE] [RUN]", operand: "run",
	short: "read a finished run again, by default the latest",
	long: `RUN is an id of pilot ps, the start of one, or "latest". The exit status is 0
when the report could be shown, whatever the verdict. With --html and without
-o nothing is written to stdout.`,
	setup: func(a *app, fs *flag.FlagSet) action {
		d := displayFlags(fs)
		return func(_ context.Context, operands []string) (int, error) { return a.report(*d, operands) }
	},
}

func (a *app) report(d display, operands []string) (int, error) {
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
	if d.html != "" || d.format == formatHTML { // a page shows who caused what
		if err := store.LoadEvents(r); err != nil {
			return 0, err
		}
	}
	if d.html != "" && d.format == "" {
		if !d.unmask {
			r = mask.Report(r)
		}
		return ExitPass, a.writePage(r, d)
	}
	return ExitPass, a.show(r, d)
}
