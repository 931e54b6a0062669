package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func helpCommand() command {
	return command{
		name: "help", args: "[COMMAND]", operand: "help",
		short: "explain a command",
		setup: func(a *app, _ *flag.FlagSet) action {
			return func(_ context.Context, operands []string) (int, error) {
				if len(operands) == 0 {
					usage(a.Stdout)
					return ExitPass, nil
				}
				c, err := find(operands[0])
				if err != nil {
					return 0, err
				}
				c.help(a.Stdout)
				return ExitPass, nil
			}
		},
	}
}

// usage writes the overview.
func usage(w io.Writer) {
	fmt.Fprintf(w, `pilot tries a recovery action in a fork of a running cluster, before you do it for real.

Usage: pilot COMMAND [flags] [arguments]

`)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		if c.hidden {
			continue
		}
		fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.short)
	}
	_ = tw.Flush()
	fmt.Fprintf(w, `
Start with: pilot doctor --match etcd
then:       pilot run --match etcd -- ./recover.sh

Exit status of run: 0 pass, 1 pilot itself failed, 2 fail, 3 unknown,
4 refused before anything was stopped, 64 usage, 130 cancelled.
`)
}

// help writes what c does and its flags.
func (c command) help(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s\n\n%s%s.\n", strings.TrimSpace("pilot "+c.name+" "+c.args), strings.ToUpper(c.short[:1]), c.short[1:])
	if c.long != "" {
		fmt.Fprintf(w, "\n%s\n", c.long)
	}
	fs := c.flagSet()
	c.setup(&app{}, fs)
	heading := "\nFlags:\n"
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Fprintf(tw, "%s  %s\t%s\n", heading, strings.TrimSpace(dashed(f.Name)+" "+value), text)
		heading = ""
	})
	_ = tw.Flush()
}
