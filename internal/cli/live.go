package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/control"
	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
)

const liveRunHelp = `RUN is an id of pilot ps, or the start of one. It may be left out when one run
goes on.`

var statusCommand = command{
	name: "status", args: "[-o text|json] [RUN]", operand: "run",
	short: "tell how far a run is that goes on",
	long:  "Tells the phase, how much time is left to what is waited for, and what the\nworlds take of the host. " + liveRunHelp,
	setup: func(a *app, fs *flag.FlagSet) action {
		f := formatFlags(fs)
		return func(ctx context.Context, operands []string) (int, error) {
			return ExitPass, a.statusOf(ctx, *f, operands)
		}
	},
}

var stopCommand = command{
	name: "stop", args: "[RUN]", operand: "run",
	short: "end a run now, and judge what was seen",
	long: `Ends the watching after the action: the report says for how long it was watched.
A run whose action has not ended ends as well, and its verdict is unknown.
` + liveRunHelp,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) {
			return ExitPass, a.steer(ctx, "stop", operands, live.Request{Verb: live.VerbStop})
		}
	},
}

var extendCommand = command{
	name: "extend", args: "[RUN] DURATION", operand: "run",
	short: "give more time to a run that goes on",
	long: `What is waited for ends that much later: the timeout before and while the action
runs, the watching after it. ` + liveRunHelp,
	setup: func(a *app, _ *flag.FlagSet) action {
		return func(ctx context.Context, operands []string) (int, error) {
			if len(operands) == 0 {
				return 0, &model.UsageError{Err: errors.New("extend by how much?"), Hint: "pilot extend 10m"}
			}
			last := len(operands) - 1
			by, err := time.ParseDuration(operands[last])
			r := live.Request{Verb: live.VerbExtend, By: by}
			if err == nil {
				err = r.Check()
			} else {
				err = fmt.Errorf("%q is not a duration", operands[last])
			}
			if err != nil {
				return 0, &model.UsageError{Err: err, Hint: "pilot extend " + strings.Join(append(operands[:last:last], "10m"), " ")}
			}
			return ExitPass, a.steer(ctx, "extend", operands[:last], r)
		}
	},
}

// steer asks something of a run, and tells what it answers.
func (a *app) steer(ctx context.Context, command string, operands []string, r live.Request) error {
	e, answer, err := a.ask(ctx, command, operands, r)
	if err == nil {
		fmt.Fprintf(a.Stdout, "run %s: %s\n", e.ID, answer.Text)
	}
	return err
}

// ask finds a run that goes on, and asks it.
func (a *app) ask(ctx context.Context, command string, operands []string, r live.Request) (e registry.Entry, answer live.Answer, err error) {
	if len(operands) > 1 {
		return e, answer, &model.UsageError{Err: fmt.Errorf("pilot %s takes one run, got %d", command, len(operands)), Hint: "pilot ps lists the runs"}
	}
	store, err := a.store()
	if err != nil {
		return e, answer, err
	}
	if len(operands) == 1 {
		e, err = store.Find(operands[0])
	} else {
		e, err = onlyLive(store, command)
	}
	if err != nil {
		return e, answer, err
	}
	if !e.Running() {
		return e, answer, &model.HintError{Err: fmt.Errorf("run %s does not go on, it is %s", e.ID, e.Status), Hint: "pilot ps lists the runs"}
	}
	answer, err = control.Ask(ctx, e.Dir, r)
	if errors.Is(err, control.ErrNobody) {
		err = &model.HintError{Err: fmt.Errorf("run %s, pid %d, cannot be spoken to", e.ID, e.PID), Hint: "it has just begun, or is about to end"}
	} else if err != nil {
		err = fmt.Errorf("run %s: %w", e.ID, err)
	}
	return e, answer, err
}

// onlyLive is the one run that goes on.
func onlyLive(store *registry.Store, command string) (registry.Entry, error) {
	entries, err := store.List()
	if err != nil {
		return registry.Entry{}, err
	}
	var found []registry.Entry
	var lines []string
	for _, e := range entries {
		if e.Running() {
			found = append(found, e)
			lines = append(lines, fmt.Sprintf("%s (%s: %s)", e.ID, e.Phase, strings.Join(mask.Args(e.Action), " ")))
		}
	}
	switch len(found) {
	case 0:
		return registry.Entry{}, &model.HintError{Err: errors.New("no run goes on"), Hint: "pilot ps lists the runs"}
	case 1:
		return found[0], nil
	}
	return registry.Entry{}, &model.UsageError{
		Err:  fmt.Errorf("which run? %d go on:\n%s", len(found), strings.Join(lines, "\n")),
		Hint: fmt.Sprintf("pilot %s %s", command, found[0].ID),
	}
}

// A runStatus is what `pilot status` tells.
type runStatus struct {
	Version int       `json:"version"`
	Run     string    `json:"run"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Members []string  `json:"members"`
	Action  []string  `json:"action"`
	live.Status
}

func (a *app) statusOf(ctx context.Context, f format, operands []string) error {
	e, answer, err := a.ask(ctx, "status", operands, live.Request{Verb: live.VerbStatus})
	if err != nil {
		return err
	}
	if answer.Status == nil {
		return fmt.Errorf("run %s did not say how far it is", e.ID)
	}
	st := runStatus{Version: model.Version, Run: e.ID, PID: e.PID, Started: e.Started, Members: e.Members, Action: mask.Args(e.Action), Status: *answer.Status}
	if f == formatJSON {
		return encode(a.Stdout, st)
	}
	a.statusText(st, time.Now())
	return nil
}

func (a *app) statusText(st runStatus, now time.Time) {
	ago := func(t time.Time) time.Duration { return max(0, now.Sub(t)).Round(time.Second) }
	fmt.Fprintf(a.Stdout, "run %s, pid %d, for %s\n", st.Run, st.PID, ago(st.Started))
	phase := st.Phase
	if st.Text != "" {
		phase += ": " + mask.Text(st.Text)
	}
	fmt.Fprintf(a.Stdout, "phase    %s, for %s\n", printable(phase), ago(st.Since))
	for _, w := range st.Waits {
		fmt.Fprintf(a.Stdout, "%-8s began %s ago, %s left\n", w.For, ago(w.Began), w.Left.Round(time.Second))
	}
	if st.Stopping {
		fmt.Fprintln(a.Stdout, "stopping, as it was told to")
	}
	fmt.Fprintf(a.Stdout, "members  %s\n", printable(strings.Join(st.Members, ", ")))
	fmt.Fprintf(a.Stdout, "command  %s\n", printable(strings.Join(st.Action, " ")))
	for _, w := range st.Worlds {
		memory := "memory not known"
		if w.Memory > 0 {
			memory = mebibytes(w.Memory)
		}
		fmt.Fprintf(a.Stdout, "%-8s %d processes, %s\n", w.Name, w.Processes, memory)
	}
}

// listen lets users speak to the run of record, by the returned context. A run
// that cannot be spoken to goes on all the same.
func (a *app) listen(ctx context.Context, record *registry.Run, p progress) (steered context.Context, end func()) {
	s := &live.Steer{}
	s.Phase(registry.Begun, "")
	server, err := control.Listen(record.Dir(), s.Do)
	if err != nil {
		p.printf("%v: pilot status, stop and extend do not reach this run", err)
		return live.With(ctx, s), func() {}
	}
	return live.With(ctx, s), func() { _ = server.Close() } // gc removes what it leaves
}
