package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/mask"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/registry"
	"github.com/pilotexec/pilot/internal/verdict"
)

// act does the action on production, asks the checks again and compares. Once it
// is begun, that is on record.
func (a *app) act(ctx context.Context, c candidate, before []model.CommandResult) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	record := registry.Application{Time: a.Now().UTC(), UID: os.Getuid(), PID: os.Getpid()}
	if u, err := user.Current(); err == nil {
		record.User = u.Username
	}
	save := func() error { return c.entry.SaveApplied(append(c.before[:len(c.before):len(c.before)], record)) }
	if err := save(); err != nil {
		return 0, err
	}
	p := progress{w: a.Stderr}
	// From here on no signal ends pilot before what it did is on record.
	held := make(chan os.Signal, 1)
	signal.Notify(held, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(held)
	real, err := a.forReal(c)
	record.Exit, record.Took = real.Exit, real.Duration
	if err != nil {
		record.Err = err.Error()
		return 0, errors.Join(err, save())
	}
	if err := save(); err != nil {
		p.printf("%v", err) // what production does matters more
	}
	// A signal that ended the action does not end this, but one that comes now does.
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	found, err := a.outcomes(ctx, c, real, before, p)
	if err != nil {
		p.printf("DIFFERS  it is not known whether production did as predicted: %v", err)
		return ExitFail, save()
	}
	predicted := true
	for _, o := range found {
		predicted = predicted && o.Same
		a.tell(p, o)
	}
	record.AsPredicted = &predicted
	if err := save(); err != nil {
		return 0, err
	}
	if !predicted {
		p.printf("production did NOT do as the trial did")
		return ExitFail, nil
	}
	p.printf("production did as the trial did")
	return ExitPass, nil
}

// forReal runs the action as the user would have. Its error tells that it could
// not be started; how it ended is in the result.
func (a *app) forReal(c candidate) (r model.CommandResult, err error) {
	cmd := exec.Command(c.then.Action[0], c.then.Action[1:]...)
	cmd.Env, cmd.Dir = c.then.Env, c.then.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
	signals := make(chan os.Signal, 16) // several may come at once
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("start the action: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// The terminal's driver has given these to the action as well.
			if a.AsksPerson && (s == os.Interrupt || s == syscall.SIGQUIT) {
				continue
			}
			_ = cmd.Process.Signal(s) // it may have ended
		case <-ended:
			r.Duration = time.Since(began)
			r.Exit = exitOf(cmd.ProcessState)
			r.Exit.At = r.Duration
			return r, nil
		}
	}
}

// exitOf says how a process ended.
func exitOf(s *os.ProcessState) *model.Exit {
	status, ok := s.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return &model.Exit{Code: -1, Signal: signalName(status.Signal())}
	}
	return &model.Exit{Code: s.ExitCode()}
}

func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGILL: "SIGILL", syscall.SIGABRT: "SIGABRT",
		syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGKILL: "SIGKILL", syscall.SIGSEGV: "SIGSEGV", syscall.SIGPIPE: "SIGPIPE",
		syscall.SIGTERM: "SIGTERM", syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2",
	}
	if name := names[s]; name != "" {
		return name
	}
	return "signal " + strconv.Itoa(int(s))
}

// outcomes compares the action, and then the checks, when production has settled
// for as long as the trial had.
func (a *app) outcomes(ctx context.Context, c candidate, real model.CommandResult, before []model.CommandResult, p progress) ([]verdict.Comparison, error) {
	spec := c.report.Spec
	out := []verdict.Comparison{verdict.Ended(*c.report.Trial.Action, real)}
	if len(spec.Probes) == 0 {
		return out, nil
	}
	settle := spec.Settle
	if took := c.report.Trial.Recovery; took != nil && took.Healthy {
		settle = max(settle, took.After)
	}
	p.printf("the action ended; watching for %s", settle.Round(time.Second/10))
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for i, want := range spec.Probes {
		if !want.AsksAfter() {
			continue
		}
		after := model.ProbeResult{Name: want.Name, Command: want.Command, Before: before[i], After: a.probeNow(ctx, want, c.then.Env, c.then.Dir)}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found := verdict.AsPredicted(want, c.report.Trial.Probes[i], after)
		if !found[0].Same {
			found[0].Real += quoteOutput(after.After.Output)
		}
		out = append(out, found...)
	}
	return out, nil
}

// mostQuoted bounds the lines of a check's output, or of what was lost, that are
// shown.
const mostQuoted = 10

// quoteOutput is the end of an output.
func quoteOutput(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if lines[0] == "" {
		return ""
	}
	return ": " + strings.Join(lines[max(0, len(lines)-mostQuoted):], " | ")
}

// tell says whether production did as predicted. What was lost is shouted.
func (a *app) tell(p progress, o verdict.Comparison) {
	if o.Same {
		p.printf("ok       %s: %s, as in the trial", o.What, o.Real)
		return
	}
	p.printf("DIFFERS  %s: in the trial %s, on production %s", o.What, o.Trial, o.Real)
	shown := mask.Lines(o.Lost)
	for _, line := range shown[:min(len(shown), mostQuoted)] {
		p.printf("!!! LOST ON PRODUCTION: %s", line)
	}
	if more := len(shown) - mostQuoted; more > 0 {
		p.printf("!!! LOST ON PRODUCTION: %d more", more)
	}
}
