package cli

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

var psCommand = command{
	name: "ps", args: "[-o text|json]",
	short: "list runs, newest first",
	long: `The status of a finished run is its verdict; "failed" means that pilot itself
failed, "abandoned" that its process is gone before its end.`,
	setup: func(a *app, fs *flag.FlagSet) action {
		f := formatFlags(fs)
		return func(_ context.Context, operands []string) (int, error) {
			if err := noOperands("ps", operands); err != nil {
				return 0, err
			}
			return ExitPass, a.ps(*f)
		}
	},
}

func (a *app) ps(f format) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	entries, err := store.List()
	if err != nil {
		return err
	}
	entries = mask.Value(entries)
	if f == formatJSON {
		return encode(a.Stdout, struct {
			Version int              `json:"version"`
			Runs    []registry.Entry `json:"runs"`
		}{model.Version, entries})
	}
	tw := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RUN\tSTATUS\tSTARTED\tMEMBERS\tACTION")
	abandoned := false
	for _, e := range entries {
		started := "?"
		if !e.Started.IsZero() {
			started = e.Started.Local().Format(time.DateTime)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", e.ID, e.Status, started, printable(strings.Join(e.Members, ",")), part(e.Part)+printable(strings.Join(e.Action, " ")))
		abandoned = abandoned || e.Status == registry.Abandoned
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if abandoned {
		fmt.Fprintln(a.Stderr, "pilot: hint: pilot gc erases what abandoned runs left behind")
	}
	return nil
}

// part says which one of a series a run is.
func part(p *model.Part) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("[%d/%d of %s] ", p.Number, p.Of, p.Series)
}

// printable is s, quoted if it holds what a line cannot show.
func printable(s string) string {
	if q := fmt.Sprintf("%q", s); strings.Contains(q, `\`) {
		return q
	}
	return s
}
