package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/report"
	"github.com/pilotexec/pilot/internal/series"
)

var compareCommand = command{
	name: "compare", args: "[flags] 'A' 'B' ...",
	short: "try several actions, each in a fork of its own, and tell how they differ",
	long: `Each operand is a command line for sh. All are tried at the same time, each in a
fork of its own of one snapshot, beside a fork in which nothing is done. The
table has what differs: a line with "!" counts, one with "~" may differ by chance,
such as how long something took. Each action has a run of its own, which pilot
report and pilot tree show.

The exit status is 0 when nothing differs that counts, 2 when something does, 3
when nothing was seen to differ but an action is not proven; 1 when pilot itself
failed, 4 when it refused before anything was stopped.

Examples:
  pilot compare --match etcd 'etcdctl defrag' 'etcdctl compact 900; etcdctl defrag'
  pilot compare --match redis --control 'kill -TERM 4711' 'kill -KILL 4711'`,
	setup: func(a *app, flags *flag.FlagSet) action {
		o := &compareOptions{run: runOptions{target: targetFlags(flags), controls: number{1, mostControls}}, format: formatFlags(flags)}
		flags.Var(&o.run.checks, "check", "shell `command` that succeeds when the cluster is healthy; repeatable")
		flags.Var(&o.run.preserve, "preserve", "shell `command` that must go on to print each line it prints before the actions; repeatable")
		flags.Var(&o.run.egress, "egress", "`peer=policy` of what is outside: deny, allow-read, stub, refuse-run; repeatable")
		flags.Var(&o.run.alsoFail, "also-fail", "a second `failure` in each fork, as [KIND:]MEMBER@WHEN; repeatable")
		o.run.target.setting(flags, "timeout", "bound each action and the wait for quiet after it by this `duration` (default 2m)")
		o.run.target.setting(flags, "settle", "watch the forks for this `duration` (default 5s)")
		o.run.target.setting(flags, "patience", "watch on for at most this `duration` while checks fail (default 30s)")
		flags.BoolVar(&o.run.collapse, "collapse", false, "put the members' memory into huge pages before the pause; pilot doctor tells the price")
		o.run.target.setting(flags, "trace", "tell `how much` of what happens in the forks: off, effects, full (default effects)")
		flags.Var(&o.run.controls, "controls", "make this `number` of controls; what differs between them is noise (default 1)")
		flags.BoolVar(&o.control, "control", false, "show the fork in which nothing is done as well")
		flags.BoolVar(&o.unmask, "unmask", false, "show what looks like a secret")
		flags.BoolVar(&o.run.quiet, "q", false, "no progress on stderr")
		return func(ctx context.Context, operands []string) (int, error) { return a.compare(ctx, o, operands) }
	},
}

type compareOptions struct {
	run             runOptions
	format          *format
	control, unmask bool
}

func (a *app) compare(ctx context.Context, o *compareOptions, lines []string) (int, error) {
	const hint = "each is one operand: pilot compare --match etcd 'systemctl restart etcd' './recover.sh --fast'"
	switch {
	case len(lines) < 2:
		return 0, &model.UsageError{Err: fmt.Errorf("pilot compare takes at least two actions, got %d", len(lines)), Hint: hint}
	case len(lines) > mostActions:
		return 0, &model.UsageError{Err: fmt.Errorf("pilot compare takes at most %d actions, got %d", mostActions, len(lines)), Hint: hint}
	}
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			return 0, &model.UsageError{Err: errors.New("an action is empty"), Hint: "for one that does nothing: true"}
		}
	}
	spec, err := a.spec(ctx, &o.run, []string{"sh", "-c", lines[0]})
	if err != nil {
		return 0, err
	}
	plan := model.Series{Recovery: true}
	for _, line := range lines {
		plan.Actions = append(plan.Actions, []string{spec.Action[0], "-c", line})
	}
	p := progress{w: a.Stderr, quiet: o.run.quiet}
	p.announce(spec)
	for _, line := range lines[1:] {
		p.printf("and beside it: %s", line)
	}
	reports, err := a.series(ctx, p, spec, plan)
	if err != nil {
		return 0, err
	}
	c := series.Compare(reports, lines, o.control)
	if !o.unmask {
		c = mask.Value(c)
	}
	if *o.format == formatJSON {
		err = encode(a.Stdout, c)
	} else {
		err = report.Comparison(a.Stdout, c, a.color())
	}
	if err != nil {
		return 0, err
	}
	switch {
	case c.Differs:
		return ExitFail, nil
	case c.Unproven:
		return ExitUnknown, nil
	}
	return ExitPass, nil
}
