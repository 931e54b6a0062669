package cli

import (
	"context"
	"errors"
	"flag"
)

var demoCommand = command{
	name:  "demo",
	short: "start a real etcd cluster, break it, and pilot two recoveries",
	long:  `Needs root and a Go toolchain. Leaves nothing behind.`,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) {
			if err := noOperands("demo", operands); err != nil {
				return 0, err
			}
			if a.Demo == nil {
				return 0, errors.New("this build of pilot has no demonstration")
			}
			return a.Demo(ctx, a.Stdout, a.Stderr), nil
		}
	},
}
