package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/verdict"
)

// current is what production is like now.
type current struct {
	print  drift.Fingerprint
	probes []model.CommandResult
	same   []verdict.Comparison // of the checks
}

// unchanged looks at production, and refuses if something that matters is not as
// it was.
func (a *app) unchanged(ctx context.Context, o *applyOptions, c candidate) (now current, err error) {
	if err := a.fresh(o, c); err != nil {
		return now, err
	}
	// A check tells nothing of another cluster, so it is asked last. As that takes
	// its time, the rest is looked at once more.
	if now.print, err = a.compared(ctx, c); err != nil || len(c.report.Spec.Probes) == 0 {
		return now, err
	}
	var no declined
	for i, p := range c.report.Spec.Probes {
		if !p.AsksBefore() {
			now.probes = append(now.probes, model.CommandResult{Skipped: true})
			continue
		}
		then, real := c.report.Trial.Probes[i].Before, a.probeNow(ctx, p, c.then.Env, c.then.Dir)
		if err := ctx.Err(); err != nil {
			return now, err
		}
		now.probes = append(now.probes, real)
		for _, o := range verdict.Ready(p, then, real) {
			if now.same = append(now.same, o); !o.Same {
				no = append(no, fmt.Sprintf("%s: then %s, now %s%s: pilot it again", o.What, o.Trial, o.Real, firstOf(o.Lost)))
			}
		}
	}
	if len(no) > 0 {
		return now, no
	}
	now.print, err = a.compared(ctx, c)
	return now, err
}

// compared looks at all but the checks, and refuses what has changed of it.
func (a *app) compared(ctx context.Context, c candidate) (now drift.Fingerprint, err error) {
	var no declined
	spec := c.report.Spec
	spec.Env = c.then.Env
	found, lost := a.membersNow(ctx, c.then)
	if lost == nil {
		spec.Members = found
	}
	if now, err = a.Look(ctx, spec, c.then.Target.Config); err != nil {
		return now, err
	}
	if now.UID != c.then.UID && now.UID != 0 {
		no = append(no, fmt.Sprintf("user: was %d, is %d: only the user who ran the pilot, or root, can apply it", c.then.UID, now.UID))
	}
	for _, change := range drift.Compare(c.then, now) {
		no = append(no, change.String())
	}
	if lost != nil && len(no) == 0 {
		no = append(no, fmt.Sprintf("members: were found, are not: %v: pilot it again", lost))
	}
	for _, m := range now.Members {
		if m.Apart {
			no = append(no, fmt.Sprintf("member %s has a file system or a network of its own, in which the action was tried: do it there by hand", m.Name))
		}
	}
	if len(no) > 0 {
		return now, no
	}
	return now, nil
}

// firstOf quotes one of what was lost.
func firstOf(lost []string) string {
	if len(lost) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%q)", lost[0])
}

// membersNow finds the members again, in the way that they were found for the
// run, so that new ones are seen as well.
func (a *app) membersNow(ctx context.Context, f drift.Fingerprint) ([]model.Member, error) {
	b := *a
	b.Dir = f.Dir
	b.Getenv = func(string) string { return "" } // what it said then is in the target
	t := &target{file: f.Target.Config, match: f.Target.Match, pids: f.Target.PIDs, data: f.Target.Data, settings: map[string]string{}}
	if f.Target.Preset != "" {
		t.settings["preset"] = f.Target.Preset
	}
	c, err := t.config(&b)
	if err != nil {
		return nil, err
	}
	members, err := t.members(ctx, &b, c)
	if err != nil {
		return nil, err
	}
	members, _, _, err = t.addPreset(ctx, &b, c, members)
	return members, err
}

// confirmed has the name of the cluster given. It reports whether it asked for it.
func (a *app) confirmed(ctx context.Context, o *applyOptions, name string) (asked bool, err error) {
	given := o.confirm
	if given == "" {
		fmt.Fprintf(a.Stderr, "pilot: type the name of the cluster, %s, to go on: ", name)
		if given, err = a.readLine(ctx); err != nil {
			fmt.Fprintln(a.Stderr)
			return true, err
		}
	}
	if strings.TrimSpace(given) != name {
		return asked, declined{fmt.Sprintf("the cluster is called %q, not %q", name, strings.TrimSpace(given))}
	}
	return o.confirm == "", nil
}

// mostTyped bounds a line that is typed.
const mostTyped = 4096

// readLine reads a line byte by byte: what follows it is the action's.
func (a *app) readLine(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	done := make(chan answer, 1)
	go func() { // a read from a terminal cannot be cancelled; the process ends with it
		var line []byte
		for b := make([]byte, 1); len(line) < mostTyped; {
			n, err := a.Stdin.Read(b)
			if n == 1 && b[0] == '\n' {
				break
			}
			line = append(line, b[:n]...)
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
				break // an empty line is no name
			}
			if err != nil {
				done <- answer{err: fmt.Errorf("read the name of the cluster: %w", err)}
				return
			}
		}
		done <- answer{line: string(line)}
	}()
	select {
	case got := <-done:
		return got.line, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
