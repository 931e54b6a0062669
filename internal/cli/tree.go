package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/causal"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/report"
)

var treeCommand = command{
	name: "tree", args: "[flags] [RUN]", operand: "run",
	short: "show who caused what in a run, by default the latest",
	long: `From the action over processes, messages and threads down to files, exits and
lines of logs, on all members. RUN is an id of pilot ps, the start of one, or
"latest". "~" marks what is likely, but was not seen; "x" what failed.`,
	setup: func(a *app, fs *flag.FlagSet) action {
		o := treeOptions{format: treeText, world: "trial"}
		fs.Var(&o.format, "o", "output `format`: text, json, otlp or perfetto")
		fs.StringVar(&o.world, "world", o.world, "the tree of this `world`: trial or control")
		fs.StringVar(&o.filter.Member, "member", "", "only what `MEMBER` did, and how it came to that")
		fs.DurationVar(&o.filter.Since, "since", 0, "only what was done at this `time` after the release, or later")
		fs.BoolVar(&o.filter.Errors, "errors", false, "only what failed, and how it came to that")
		fs.IntVar(&o.filter.Depth, "depth", 0, "at most `N` levels")
		fs.BoolVar(&o.all, "all", false, "the text has all lines, also of what the action did not cause")
		fs.StringVar(&o.send, "send", "", "send the tree as OTLP to the collector at `URL`, such as http://127.0.0.1:4318")
		return func(ctx context.Context, operands []string) (int, error) { return a.tree(ctx, o, operands) }
	},
}

// A treeFormat is the flag -o of pilot tree.
type treeFormat string

const (
	treeText     treeFormat = "text"
	treeJSON     treeFormat = "json"
	treeOTLP     treeFormat = "otlp"
	treePerfetto treeFormat = "perfetto"
)

func (f *treeFormat) String() string { return string(*f) }

// Set accepts a format that we have.
func (f *treeFormat) Set(s string) error {
	if all := []treeFormat{treeText, treeJSON, treeOTLP, treePerfetto}; !slices.Contains(all, treeFormat(s)) {
		return fmt.Errorf("%q is not text, json, otlp or perfetto", s)
	}
	*f = treeFormat(s)
	return nil
}

type treeOptions struct {
	format treeFormat
	world  string
	filter causal.Filter
	all    bool
	send   string
}

// check refuses what makes no sense.
func (o treeOptions) check(operands []string) error {
	usage := func(hint, format string, args ...any) error {
		return &model.UsageError{Err: fmt.Errorf(format, args...), Hint: hint}
	}
	switch {
	case len(operands) > 1:
		return usage("pilot ps lists the runs", "pilot tree takes one run, got %d", len(operands))
	case o.world != "trial" && o.world != "control":
		return usage("--world is trial or control", "no world is called %q", o.world)
	case o.filter.Depth < 0 || o.filter.Since < 0:
		return usage("pilot help tree lists the flags", "--depth and --since are not negative")
	}
	return nil
}

func (a *app) tree(ctx context.Context, o treeOptions, operands []string) (int, error) {
	if err := o.check(operands); err != nil {
		return 0, err
	}
	r, err := a.loadEvents(append(operands, "latest")[0])
	if err != nil {
		return 0, err
	}
	if o.filter.Member != "" && !slices.ContainsFunc(r.Spec.Members, func(m model.Member) bool { return m.Name == o.filter.Member }) {
		return 0, &model.UsageError{Err: fmt.Errorf("run %s has no member %q", r.ID, o.filter.Member), Hint: "its members are " + memberNames(r)}
	}
	w, other := &r.Trial, &r.Control
	if o.world == "control" {
		w, other = other, w
	}
	if len(w.Events) == 0 {
		fmt.Fprintf(a.Stderr, "pilot: hint: no events were recorded in the %s of run %s: the tree has its processes only\n", o.world, r.ID)
	}
	t := causal.Build(w, other)
	t.World = o.world
	t = t.Select(o.filter)
	if o.send != "" {
		return ExitPass, a.send(ctx, report.NewOTLP(t, r), o.send)
	}
	return ExitPass, a.showTree(a.Stdout, t, r, o)
}

// loadEvents reads the report of a run, and its events.
func (a *app) loadEvents(name string) (*model.Report, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	r, err := store.Load(name)
	if err != nil {
		return nil, err
	}
	return r, store.LoadEvents(r)
}

func memberNames(r *model.Report) string {
	var list []string
	for _, m := range r.Spec.Members {
		list = append(list, m.Name)
	}
	return strings.Join(list, ", ")
}

func (a *app) showTree(w io.Writer, t *causal.Tree, r *model.Report, o treeOptions) error {
	switch o.format {
	case treeJSON:
		return report.TreeJSON(w, t, r)
	case treeOTLP:
		return report.TreeOTLP(w, t, r)
	case treePerfetto:
		return report.TreePerfetto(w, t, r)
	}
	return report.TreeText(w, t, report.TreeOf{Run: r, All: o.all || o.world == "control", Color: a.color()})
}
