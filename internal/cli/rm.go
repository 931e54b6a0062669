package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

var rmCommand = command{
	name: "rm", args: "RUN...", operand: "run",
	short: "erase runs: their reports, and all that is left of them",
	long:  `RUN is an id of pilot ps, the start of one, or "latest". A run that goes on is not erased.`,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) { return ExitPass, a.rm(ctx, operands) }
	},
}

func (a *app) rm(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return &model.UsageError{Err: errors.New("no run to erase"), Hint: "pilot ps lists the runs"}
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, a.erase(ctx, store, name))
	}
	return errors.Join(errs...)
}

// erase lets the engine take apart what the run left before its files go.
func (a *app) erase(ctx context.Context, store *registry.Store, name string) error {
	e, err := store.Find(name)
	if err != nil {
		return err
	}
	if !e.Running() && e.Leftovers() {
		if err := a.sweep(ctx, []string{e.Work}); err != nil {
			return err
		}
	}
	id, err := store.Remove(e.ID)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, id)
	return nil
}

// sweep has the engine erase what is in workDirs, and tells of it on stderr.
func (a *app) sweep(ctx context.Context, workDirs []string) error {
	engine, err := a.engine()
	if err != nil {
		return err
	}
	erased, err := engine.Sweep(ctx, workDirs)
	const most = 20 // to be read
	for _, what := range erased[:min(most, len(erased))] {
		fmt.Fprintf(a.Stderr, "pilot: erased %s\n", what)
	}
	if n := len(erased) - most; n > 0 {
		fmt.Fprintf(a.Stderr, "pilot: erased %d more\n", n)
	}
	return err
}
