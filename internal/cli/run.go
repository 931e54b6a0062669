package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/config"
	"github.com/pilotexec/pilot/internal/injury"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

var runCommand = command{
	name: "run", args: "[flags] -- CMD...", operand: "command",
	short: "dry-run CMD in a fork of the running cluster, and report",
	long: `Forks the members, runs CMD in the fork, compares with a second fork in which
nothing is done, and reports. Production is stopped only while the fork is taken.

Members come from --match and --pid, else from pilot.yaml. The exit status is
the verdict: 0 pass, 2 fail, 3 unknown; 1 when pilot itself failed, 4 when it
refused before anything was stopped.

Examples:
  pilot run --match etcd -- ./recover.sh
  pilot run --match etcd --check 'etcdctl endpoint health' -- etcdctl member remove 8e9e05c5
  pilot run -f pilot.yaml --json -- sh -c 'systemctl restart etcd3'`,
	setup: func(a *app, flags *flag.FlagSet) action {
		o := &runOptions{target: targetFlags(flags), display: displayFlags(flags)}
		flags.Var(&o.checks, "check", "shell `command` that succeeds when the cluster is healthy; repeatable")
		flags.Var(&o.preserve, "preserve", "shell `command` that must go on to print each line it prints before CMD; repeatable")
		flags.Var(&o.egress, "egress", "`peer=policy` of what is outside: deny, allow-read, stub, refuse-run; repeatable")
		flags.Var(&o.alsoFail, "also-fail", "a second `failure` in the fork, as [KIND:]MEMBER@WHEN; repeatable")
		o.target.setting(flags, "timeout", "bound CMD and the wait for quiet after it by this `duration` (default 2m)")
		o.target.setting(flags, "settle", "watch the fork for this `duration` after CMD ended (default 5s)")
		o.target.setting(flags, "patience", "watch on for at most this `duration` while checks fail (default 30s)")
		flags.BoolVar(&o.collapse, "collapse", false, "put the members' memory into huge pages before the pause; pilot doctor tells the price")
		o.target.setting(flags, "trace", "tell `how much` of what happens in the forks: off, effects, full (default effects)")
		o.repeat, o.controls = number{1, mostRounds}, number{1, mostControls}
		flags.Var(&o.repeat, "repeat", "try CMD this `number` of times, each in a fork of the same snapshot (default 1)")
		flags.Var(&o.controls, "controls", "make this `number` of controls; what differs between them is noise (default 1)")
		flags.BoolVar(&o.quiet, "q", false, "no progress on stderr")
		return func(ctx context.Context, operands []string) (int, error) { return a.run(ctx, o, operands) }
	},
}

type runOptions struct {
	target           *target
	checks, preserve texts
	egress           rules
	alsoFail         injuries
	display          *display
	quiet, collapse  bool
	repeat, controls number
}

// run pilots the command in operands. Everything that can be wrong with what
// was typed is found before the engine is asked for anything.
func (a *app) run(ctx context.Context, o *runOptions, operands []string) (int, error) {
	if a.InWorld != nil && a.InWorld() {
		return a.runHere(operands)
	}
	spec, err := a.spec(ctx, o, operands)
	if err != nil {
		return 0, err
	}
	if o.repeat.n > 1 {
		return a.repeat(ctx, o, spec)
	}
	return a.pilot(ctx, o, spec)
}

// pilot has the engine carry out spec, and shows what came of it.
func (a *app) pilot(ctx context.Context, o *runOptions, spec model.Spec) (int, error) {
	engine, err := a.engine()
	if err != nil {
		return 0, err
	}
	store, err := a.store()
	if err != nil {
		return 0, err
	}
	record, err := store.Begin(spec)
	if err != nil {
		return 0, err
	}
	p := progress{w: a.Stderr, quiet: o.quiet}
	p.announce(spec)
	if !spec.Shell {
		a.remember(ctx, o.target, record, spec, p)
	}
	ctx, end := a.listen(ctx, record, p)
	defer end()
	if spec.Shell {
		live.From(ctx).SetTerminal(a.Terminal)
		spec.Env = worldEnv(spec.Env, record.ID())
	}
	r, err := engine.Run(ctx, spec, record.Work(), func(phase, text string) {
		_ = record.SetPhase(phase) // only ps would miss it
		live.From(ctx).Phase(phase, text)
		p.phase(phase, text)
	})
	if err != nil {
		if ferr := record.Fail(err); ferr != nil {
			p.printf("%v", ferr)
		}
		a.outcome = ": production goes on, the worlds are erased"
		if len(besides(err)) > 0 {
			a.outcome = ": production goes on; pilot gc erases what is left"
		}
		return 0, err
	}
	// A verdict that cannot be stored is still worth showing.
	stored := record.Finish(r)
	if err := errors.Join(a.show(r, *o.display), stored); err != nil {
		return 0, err
	}
	p.released(r)
	return exitStatus(r.Verdict.Status), nil
}

// spec is what the flags and pilot.yaml ask for.
func (a *app) spec(ctx context.Context, o *runOptions, operands []string) (model.Spec, error) {
	action, err := lookup(operands)
	if err != nil {
		return model.Spec{}, err
	}
	c, err := o.target.config(a)
	if err != nil {
		return model.Spec{}, err
	}
	members, err := o.target.members(ctx, a, c)
	if err != nil {
		return model.Spec{}, err
	}
	members, checks, notes, err := o.target.addPreset(ctx, a, c, members)
	if err != nil {
		return model.Spec{}, err
	}
	for _, note := range notes {
		progress{w: a.Stderr, quiet: o.quiet}.printf("%s", note)
	}
	if len(members) == 0 {
		return model.Spec{}, &model.UsageError{Err: errors.New("no members: what is to be forked?"), Hint: "name them with --match or --pid, or write a pilot.yaml"}
	}
	spec := model.Spec{Members: members, Action: action, Dir: a.Dir, Env: a.Environ, MaxPause: c.MaxPause, Timeout: c.Timeout, Settle: c.Settle, Patience: c.Patience, Trace: c.Trace, Limits: limits(c), Collapse: o.collapse}
	if o.controls.n > 1 {
		spec.Controls = o.controls.n
	}
	if spec.Dir == "" {
		if spec.Dir, err = os.Getwd(); err != nil {
			return model.Spec{}, fmt.Errorf("find working directory: %w", err)
		}
	}
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	for _, e := range append(o.egress, c.Egress...) { // the first that means a peer counts
		spec.Egress = append(spec.Egress, model.EgressRule{Peer: e.Peer, Policy: e.Policy, Reply: e.Reply})
	}
	if spec.AlsoFail, err = o.secondFailures(c, members); err != nil {
		return model.Spec{}, err
	}
	for _, l := range c.Logs {
		rule := model.LogRule{Pattern: l.Pattern, Require: l.Require, Severity: model.Error}
		if l.Warning {
			rule.Severity = model.Warning
		}
		spec.LogRules = append(spec.LogRules, rule)
	}
	spec.Probes, err = probes(append(checks, c.Checks...), o.checks, o.preserve)
	return spec, err
}

// secondFailures are those of --also-fail, and of pilot.yaml.
func (o *runOptions) secondFailures(c *config.Config, members []model.Member) ([]model.Injury, error) {
	all := slices.Clone(o.alsoFail)
	for _, text := range c.AlsoFail {
		if err := all.Set(text); err != nil {
			return nil, &model.UsageError{Err: fmt.Errorf("also-fail: %w", err)}
		}
	}
	if err := injury.Members(all, members); err != nil {
		return nil, &model.UsageError{Err: fmt.Errorf("--also-fail: %w", err)}
	}
	return all, nil
}

// probes are the checks of pilot.yaml, and those of --check and --preserve.
func probes(checks []config.Check, lines, preserved []string) ([]model.Probe, error) {
	for _, line := range lines {
		checks = append(checks, config.Shell(line))
	}
	for _, line := range preserved {
		checks = append(checks, config.Preserving(line))
	}
	var list []model.Probe
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.Name] {
			return nil, &model.UsageError{Err: fmt.Errorf("check %q is given twice", c.Name)}
		}
		seen[c.Name] = true
		if len(c.Ask) > 0 {
			self, err := ownProgram()
			if err != nil {
				return nil, fmt.Errorf("check %q: %w", c.Name, err)
			}
			c.Command = append([]string{self, "probe"}, c.Ask...)
		}
		list = append(list, model.Probe{
			Name: c.Name, Command: c.Command, Timeout: c.Timeout, When: c.When,
			Expect: c.Expect, Preserve: c.Preserve, NotLess: c.NotLess, SameAsControl: c.SameAsControl,
		})
	}
	return list, nil
}

// lookup finds the program of command up front, so that a mistyped one costs
// nothing.
func lookup(command []string) ([]string, error) {
	if len(command) == 0 {
		return nil, &model.UsageError{Err: errors.New("no command to try"), Hint: "pilot run --match etcd -- ./recover.sh"}
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		return append([]string{path}, command[1:]...), nil
	}
	cause := err
	var eerr *exec.Error
	if errors.As(err, &eerr) {
		cause = eerr.Err
	}
	var perr *fs.PathError
	if errors.As(cause, &perr) {
		cause = perr.Err
	}
	misuse := &model.UsageError{Err: fmt.Errorf("command %q: %w", command[0], cause)}
	if errors.Is(err, exec.ErrNotFound) {
		misuse.Err = fmt.Errorf("command %q: not found in PATH", command[0])
	}
	switch {
	case strings.HasPrefix(command[0], "-"):
		misuse.Hint = "flags of pilot go before the command: pilot run [flags] -- CMD"
	case strings.ContainsAny(command[0], " |&;<>$"):
		misuse.Hint = "for shell syntax: pilot run -- sh -c '...'"
	}
	return nil, misuse
}

// color reports whether stdout takes colours, see https://no-color.org.
func (a *app) color() bool {
	return a.IsTerminal && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// exitStatus is the status that tells s to a script.
func exitStatus(s model.Status) int {
	switch s {
	case model.Pass:
		return ExitPass
	case model.Fail:
		return ExitFail
	default:
		return ExitUnknown
	}
}

// store opens the registry of this user.
func (a *app) store() (*registry.Store, error) {
	dir, err := registry.Dir(a.Getenv)
	if err != nil {
		return nil, err
	}
	return registry.Open(dir, registry.StartTime)
}
