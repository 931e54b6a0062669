package cli

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/probe"
)

var probeCommand = command{
	name: "probe", args: "SYSTEM [QUESTION] ADDR...", hidden: true,
	short: "ask servers how they are and how much they hold",
	long: `SYSTEM is http, tcp, etcd, redis, zookeeper, nats or kafka; QUESTION is health
(the default), numbers or roles, or members of etcd. It is what the checks of presets
run, and pilot apply. Health wants all servers to serve. Roles are who leads, and
who the members are. Numbers are the most that any that answers has;
one behind ~ may fall. Nothing is written to a server.`,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) { return a.probe(ctx, operands) }
	},
}

func (a *app) probe(ctx context.Context, operands []string) (int, error) {
	var names []string
	for _, s := range probe.Systems {
		names = append(names, s.Name)
		if len(operands) < 2 || operands[0] != s.Name {
			continue
		}
		verb, addrs := "", operands[1:]
		if slices.Contains(s.Verbs, addrs[0]) {
			verb, addrs = addrs[0], addrs[1:]
		}
		answer, err := probe.Ask(ctx, s.Name, addrs, verb)
		for _, line := range answer {
			fmt.Fprintln(a.Stdout, line)
		}
		if err != nil {
			return 0, err
		}
		return ExitPass, nil
	}
	return 0, &model.UsageError{Err: fmt.Errorf("probe needs a system and an address"), Hint: "known are " + strings.Join(names, ", ")}
}
