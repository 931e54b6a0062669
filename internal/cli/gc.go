package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/pilotexec/pilot/internal/control"
	"github.com/pilotexec/pilot/internal/registry"
)

var gcCommand = command{
	name:  "gc",
	short: "erase what dead runs left behind",
	long: `Erases the worlds, images and records of abandoned runs, and what finished ones
could not erase. Runs that go on and reports are not touched.`,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) {
			if err := noOperands("gc", operands); err != nil {
				return 0, err
			}
			return ExitPass, a.gc(ctx)
		}
	},
}

func (a *app) gc(ctx context.Context) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := store.List()
	if err != nil {
		return err
	}
	var workDirs []string
	var abandoned []registry.Entry
	for _, e := range entries {
		if e.Running() {
			continue
		}
		if err := control.Sweep(e.Dir); err != nil {
			return err
		}
		if e.Leftovers() {
			workDirs = append(workDirs, e.Work)
		}
		if e.Status == registry.Abandoned {
			abandoned = append(abandoned, e)
		}
	}
	if err := a.sweep(ctx, workDirs); err != nil {
		return err
	}
	var errs []error
	for _, e := range abandoned {
		id, err := store.Remove(e.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(a.Stdout, id)
	}
	return errors.Join(errs...)
}
