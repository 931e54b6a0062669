package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
)

var doctorCommand = command{
	name: "doctor", args: "[flags] [TARGET]",
	short: "tell whether this kernel and these processes can be piloted, and at what cost",
	long: `TARGET is a pid, or a name as for --match. Nothing is stopped, but
threads under a seccomp filter: each for some microseconds, to read it. The exit
status is 0 when all can be piloted, 4 when something would be refused.`,
	setup: func(a *app, fs *flag.FlagSet) action {
		t, f := targetFlags(fs), formatFlags(fs)
		return func(ctx context.Context, operands []string) (int, error) { return a.doctor(ctx, t, *f, operands) }
	},
}

func (a *app) doctor(ctx context.Context, t *target, f format, operands []string) (int, error) {
	if len(operands) > 1 {
		return 0, &model.UsageError{Err: fmt.Errorf("pilot doctor takes one target, got %d", len(operands)), Hint: "several: --match or --pid, repeated"}
	}
	for _, o := range operands {
		if pid, err := strconv.Atoi(o); err == nil && pid > 0 {
			t.pids = append(t.pids, pid)
		} else {
			t.match = append(t.match, o)
		}
	}
	c, err := t.config(a)
	if err != nil {
		return 0, err
	}
	members, err := t.members(ctx, a, c)
	if err != nil {
		return 0, err
	}
	if c.Preset != "" || len(members) > 0 { // else it is about the kernel
		if members, _, _, err = t.addPreset(ctx, a, c, members); err != nil {
			return 0, err
		}
	}
	engine, err := a.engine()
	if err != nil {
		return 0, err
	}
	diagnoses, err := engine.Doctor(ctx, model.Spec{Members: members, MaxPause: c.MaxPause, Timeout: c.Timeout, Settle: c.Settle, Limits: limits(c)})
	if err != nil {
		return 0, err
	}
	status := ExitPass
	for _, d := range diagnoses {
		if len(d.Refusals) > 0 {
			status = ExitRefused
		}
	}
	diagnoses = mask.Value(diagnoses)
	if f == formatJSON {
		return status, encode(a.Stdout, struct {
			Version   int               `json:"version"`
			Diagnoses []model.Diagnosis `json:"diagnoses"`
		}{model.Version, append([]model.Diagnosis{}, diagnoses...)})
	}
	return status, writeDiagnoses(a.Stdout, diagnoses, c.MaxPause)
}

func writeDiagnoses(w io.Writer, diagnoses []model.Diagnosis, maxPause time.Duration) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var sum model.Pause
	refusals := 0
	for _, d := range diagnoses {
		sum = sum.Plus(d.Predicted)
		refusals += len(d.Refusals)
		writeDiagnosis(tw, d)
	}
	predicted := sum.Total
	switch {
	case refusals == 1:
		fmt.Fprintln(tw, "cannot be piloted: 1 object is refused")
	case refusals > 1:
		fmt.Fprintf(tw, "cannot be piloted: %d objects are refused\n", refusals)
	case predicted > maxPause:
		fmt.Fprintf(tw, "can be piloted, but the predicted pause of %s is above --max-pause %s\n", tenths(predicted), maxPause)
	case predicted > 0:
		fmt.Fprintf(tw, "can be piloted, predicted pause %s: stop %s, capture %s, fork %s, release %s, and what it takes to compare files that change\n",
			tenths(predicted), tenths(sum.Stop), tenths(sum.Capture), tenths(sum.Fork), tenths(sum.Release))
	default:
		fmt.Fprintln(tw, "can be piloted")
	}
	return tw.Flush()
}

func writeDiagnosis(w io.Writer, d model.Diagnosis) {
	switch {
	case d.Member.Name == "" && d.Member.Down():
		fmt.Fprintln(w, "this host")
	case d.Member.Down():
		fmt.Fprintf(w, "%s: down, %s of data\n", printable(d.Member.Name), mebibytes(d.DataBytes))
	default:
		fmt.Fprintf(w, "%s (pid %d): %d threads, %s resident, %s of data, predicted pause %s\n", printable(d.Member.Name), d.Member.PID,
			d.Threads, mebibytes(d.Resident), mebibytes(d.DataBytes), tenths(d.Predicted.Total))
	}
	for _, o := range d.Objects {
		fmt.Fprintf(w, "  %s\t%d\t%s\t%s\n", o.Status, o.Count, printable(o.Kind), printable(o.Detail))
	}
	for _, way := range d.Data {
		fmt.Fprintf(w, "  data\t%s\t%s\t%s\n", way.FS, printable(way.Path), way.Text())
	}
	if c := d.Collapse; c != nil && c.Saves >= time.Millisecond {
		fmt.Fprintf(w, "  collapse\t%d\t\t--collapse would make so many huge pages for about %s, with new mappings (mmap) waiting up to %s; the pause would be %s shorter\n",
			c.Pages, c.Duration.Round(time.Second), tenths(c.Worst), tenths(c.Saves))
	}
	for _, g := range d.Gaps {
		fmt.Fprintf(w, "  ? %s: %s\n", printable(g.Object), printable(g.Detail))
	}
	for _, r := range d.Refusals {
		fmt.Fprintf(w, "  x %s\n", printable(r.String()))
		if r.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", printable(r.Hint))
		}
	}
	fmt.Fprintln(w)
}

// tenths rounds to tenths of a millisecond.
func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
