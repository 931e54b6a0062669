package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
	"github.com/pilotexec/pilot/internal/report"
	"github.com/pilotexec/pilot/internal/series"
)

// What is bounded because each has worlds of its own, or a report.
const (
	mostRounds   = 100
	mostControls = 4
	mostActions  = 8
)

// jitter is the longest that the action of a round is held back.
const jitter = 200 * time.Millisecond

// A number is a flag from 1 to most.
type number struct{ n, most int }

func (n *number) String() string { return strconv.Itoa(n.n) }

// Set accepts a number in the range.
func (n *number) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || v > n.most {
		return fmt.Errorf("%q is not a number from 1 to %d", s, n.most)
	}
	n.n = v
	return nil
}

// repeat pilots spec in several rounds of one snapshot.
func (a *app) repeat(ctx context.Context, o *runOptions, spec model.Spec) (int, error) {
	if o.display.html != "" || o.display.format == formatHTML {
		return 0, &model.UsageError{Err: errors.New("a page tells of one round: --html does not go with --repeat"), Hint: "pilot report RUN --html FILE"}
	}
	plan := model.Series{Rounds: o.repeat.n, Jitter: jitter}
	p := progress{w: a.Stderr, quiet: o.quiet}
	p.announce(spec)
	p.printf("in %d rounds, one after the other", o.repeat.n)
	reports, err := a.series(ctx, p, spec, plan)
	if len(reports) == 0 {
		return 0, err
	}
	s := series.Repeat(reports, o.repeat.n)
	if !o.display.unmask {
		s = mask.Value(s)
	}
	if o.display.format == formatJSON {
		err = errors.Join(err, encode(a.Stdout, s))
	} else {
		err = errors.Join(err, report.Rounds(a.Stdout, s, a.color()))
	}
	if err != nil {
		return 0, err
	}
	return exitStatus(s.Status), nil
}

// series has the engine make a series of runs, and stores the reports, each as a
// run of its own. It returns them without events; those of rounds that came to their
// end also with an error.
func (a *app) series(ctx context.Context, p progress, spec model.Spec, plan model.Series) ([]*model.Report, error) {
	engine, err := a.engine()
	if err != nil {
		return nil, err
	}
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	record, err := store.Begin(spec)
	if err != nil {
		return nil, err
	}
	b := ledger{first: record}
	err = engine.Series(ctx, spec, plan, record.Work(), func(phase, text string) {
		_ = record.SetPhase(phase) // only ps would miss it
		p.phase(phase, text)
	}, b.add)
	if len(b.reports) == 0 {
		if err == nil {
			err = errors.New("the series ended without a report")
		}
		if ferr := record.Fail(err); ferr != nil {
			p.printf("%v", ferr)
		}
		return nil, err
	}
	err = errors.Join(err, b.finish())
	p.printf("production was released after %.1f ms and goes on", float64(b.reports[0].Pause.Total)/float64(time.Millisecond))
	p.printf("next: pilot report %s -o json", b.reports[len(b.reports)-1].ID)
	return b.reports, err
}

// A ledger stores the reports of a series as they come. The first has the record of
// the series, which goes on until its end.
type ledger struct {
	first, last *registry.Run
	reports     []*model.Report
	errs        []error
}

func (b *ledger) add(r *model.Report) {
	if r.Part != nil {
		r.Part.Series = b.first.ID()
	}
	i := len(b.reports)
	b.reports = append(b.reports, r)
	b.errs = append(b.errs, b.store(r, i))
	r.Trial.Events, r.Control.Events = nil, nil // they are many
}

func (b *ledger) store(r *model.Report, i int) error {
	if i == 0 {
		b.last = b.first
		return b.first.Save(r)
	}
	next, err := b.first.Next(r, i)
	if err != nil {
		return err
	}
	b.last = next
	return next.Finish(r)
}

// finish ends the record of the series. The latest run is its last.
func (b *ledger) finish() error {
	b.errs = append(b.errs, b.first.Finish(b.reports[0]))
	if b.last != b.first {
		b.errs = append(b.errs, b.last.Latest())
	}
	return errors.Join(b.errs...)
}
