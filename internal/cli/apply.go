package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

// How old a run may be that is applied: by default, and at most.
const (
	defaultAge = 15 * time.Minute
	mostAge    = time.Hour
)

var applyCommand = command{
	name: "apply", args: "[flags] RUN", operand: "run",
	short: "do for real what a run passed with, if nothing has changed since",
	long: `Runs the action of RUN on production: the same command line, directory and
environment, with this terminal. Only a run that passed, not long ago, and only
if the members, the files of the action, the checks and the leader are as they
were. Asks for the name of the cluster first. Afterwards the checks are run again,
and what they say is compared with what the trial said.

Exits with 0 when production did as predicted, 2 when it did not, 1 when the
action could not be run, 4 when it was refused.`,
	setup: func(a *app, flags *flag.FlagSet) action {
		o := &applyOptions{age: defaultAge}
		flags.Func("max-age", "refuse a run that ended longer than this `duration` ago, at most 1h (default 15m)", o.setAge)
		flags.StringVar(&o.confirm, "confirm", "", "the `name` of the cluster, instead of being asked for it")
		flags.BoolVar(&o.noInput, "no-input", false, "never ask; refuse without --confirm")
		flags.BoolVar(&o.again, "again", false, "apply a run that was applied before")
		flags.BoolVar(&o.dry, "dry-run", false, "check everything, and do nothing")
		return func(ctx context.Context, operands []string) (int, error) { return a.apply(ctx, o, operands) }
	},
}

type applyOptions struct {
	age                 time.Duration
	confirm             string
	noInput, again, dry bool
}

func (o *applyOptions) setAge(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > mostAge {
		return fmt.Errorf("%q is not a duration of at most 1h, such as 5m", s)
	}
	o.age = d
	return nil
}

// A declined says why a run is not applied, line by line.
type declined []string

func (d declined) Error() string { return strings.Join(d, "\n") }

// A candidate is a run that may be applied.
type candidate struct {
	entry  registry.Entry
	report *model.Report
	then   drift.Fingerprint
	before []registry.Application // when it was applied before
}

func (a *app) apply(ctx context.Context, o *applyOptions, operands []string) (int, error) {
	if len(operands) != 1 {
		return 0, &model.UsageError{Err: fmt.Errorf("pilot apply takes one run, got %d", len(operands)), Hint: "pilot ps lists the runs"}
	}
	if a.Look == nil {
		return 0, errNoEngine
	}
	store, err := a.store()
	if err != nil {
		return 0, err
	}
	entry, err := store.Find(operands[0])
	if err != nil {
		return 0, err
	}
	status, err := a.applyEntry(ctx, o, store, entry)
	var no declined
	if errors.As(err, &no) {
		for _, line := range no {
			fmt.Fprintf(a.Stderr, "pilot: error: %s\n", mask.Text(line))
		}
		fmt.Fprintln(a.Stderr, "pilot: refused, nothing was done")
		return ExitRefused, nil
	}
	return status, err
}

func (a *app) applyEntry(ctx context.Context, o *applyOptions, store *registry.Store, entry registry.Entry) (int, error) {
	unlock, err := entry.LockApply()
	if errors.Is(err, registry.ErrApplying) {
		return 0, declined{err.Error()}
	}
	if err != nil {
		return 0, err
	}
	defer unlock()
	c, err := a.candidate(o, store, entry)
	if err != nil {
		return 0, err
	}
	now, err := a.unchanged(ctx, o, c)
	if err != nil {
		return 0, err
	}
	if o.dry {
		a.plan(progress{w: a.Stdout}, c, now)
		return ExitPass, nil
	}
	a.plan(progress{w: a.Stderr}, c, now)
	asked, err := a.confirmed(ctx, o, c.then.Cluster)
	if err != nil {
		return 0, err
	}
	if asked { // it may have taken long
		if now, err = a.unchanged(ctx, o, c); err != nil {
			return 0, err
		}
	}
	return a.act(ctx, c, now.probes)
}

// candidate reads the run, and refuses it for what can be told without looking at
// production.
func (a *app) candidate(o *applyOptions, store *registry.Store, entry registry.Entry) (c candidate, err error) {
	c.entry = entry
	if !o.dry && o.confirm == "" && (o.noInput || !a.AsksPerson) {
		return c, declined{"nobody can be asked for the name of the cluster: give it with --confirm"}
	}
	if entry.Status != string(model.Pass) {
		return c, declined{fmt.Sprintf("run %s: its verdict is %s: only a run that passed can be applied", entry.ID, entry.Status)}
	}
	if c.report, err = store.Load(entry.ID); err != nil {
		return c, declined{fmt.Sprintf("%v: pilot it again", err)}
	}
	if c.then, err = entry.Fingerprint(); err != nil {
		return c, declined{fmt.Sprintf("run %s: it is not known what it depended on: %v: pilot it again", entry.ID, err)}
	}
	if why := incomplete(entry, c.report, c.then); why != "" {
		return c, declined{fmt.Sprintf("run %s: its report is not whole: %s: pilot it again", entry.ID, why)}
	}
	if c.before, err = entry.Applied(); err != nil {
		return c, declined{fmt.Sprintf("run %s: it is not known whether it was applied before: %v: pilot it again", entry.ID, err)}
	}
	if last := started(c.before); last != nil && !o.again {
		return c, declined{fmt.Sprintf("run %s: it was applied at %s by %s: pilot it again, or give --again", entry.ID, last.Time.Format(time.RFC3339), who(*last))}
	}
	return c, a.fresh(o, c)
}

// fresh refuses a run that ended too long ago, or in the future, when the clock
// was set back since.
func (a *app) fresh(o *applyOptions, c candidate) error {
	ended := c.report.Started.Add(c.report.Duration)
	if age := a.Now().Sub(ended); age > o.age || age < -time.Second {
		return declined{fmt.Sprintf("run %s: age: may be %s, is %s: pilot it again", c.entry.ID, o.age, age.Round(time.Second))}
	}
	return nil
}

// incomplete says what a report lacks that one that passed has, or nothing.
func incomplete(e registry.Entry, r *model.Report, f drift.Fingerprint) string {
	switch t := r.Trial; {
	case r.ID != e.ID || r.Verdict.Status != model.Pass:
		return "it is that of another run, or verdict"
	case t.Action == nil || t.Action.Exit == nil || t.Action.Err != "":
		return "the action did not end"
	case t.Ended != "" || t.DeadlineHit || len(t.Incomplete) > 0 || len(r.Control.Incomplete) > 0:
		return "something was not observed"
	case len(t.Probes) != len(r.Spec.Probes):
		return "a check has no result"
	case len(r.Spec.Action) == 0 || fmt.Sprintf("%q", r.Spec.Action) != fmt.Sprintf("%q", f.Action) || r.Spec.Dir != f.Dir:
		return "it is that of another action"
	}
	for i, p := range r.Spec.Probes {
		if r.Trial.Probes[i].Name != p.Name {
			return fmt.Sprintf("check %q has no result", p.Name)
		}
	}
	return ""
}

// started is the last time that the action was begun on production, or nil.
func started(list []registry.Application) (last *registry.Application) {
	for i, l := range list {
		if l.Err == "" {
			last = &list[i]
		}
	}
	return last
}

func who(l registry.Application) string {
	if l.User != "" {
		return l.User
	}
	return fmt.Sprintf("user %d", l.UID)
}

// plan tells what will be done.
func (a *app) plan(p progress, c candidate, now current) {
	r := c.report
	p.printf("run %s, %s ago: PASS  %s", r.ID, a.Now().Sub(r.Started.Add(r.Duration)).Round(time.Second), r.Verdict.Reason)
	for _, f := range r.Verdict.Findings {
		if f.Severity == model.Warning {
			p.printf("  warning: %s", f.Message)
		}
	}
	if n := len(r.Verdict.NotCovered); n > 0 {
		p.printf("  not covered: %d things, pilot report %s has them", n, r.ID)
	}
	var members []string
	for _, m := range r.Spec.Members {
		state := "down"
		if !m.Down() {
			state = fmt.Sprintf("pid %d", m.PID)
		}
		members = append(members, fmt.Sprintf("%s (%s)", m.Name, state))
	}
	p.printf("members of %s: %s", c.then.Cluster, strings.Join(members, ", "))
	for _, l := range c.then.Roles {
		p.printf("  %s", l)
	}
	for _, o := range now.same {
		p.printf("  %s: %s, as before the trial", o.What, o.Real)
	}
	if now.print.UID != c.then.UID {
		p.printf("  warning: user %d ran the pilot, and it will be done as user %d", c.then.UID, now.print.UID)
	}
	p.printf("will do FOR REAL, ON PRODUCTION, in %s: %s", c.then.Dir, strings.Join(mask.Args(c.then.Action), " "))
}
