package verdict

import (
	"fmt"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A Comparison sets what a trial showed beside what production shows.
type Comparison struct {
	What  string // such as `check "health"`
	Trial string
	Real  string
	Same  bool
	// Lost are lines that were to be preserved and are gone.
	Lost []string
}

// Ready compares the outcome of a check in the trial, before the action, with that in
// production now. Nothing that the check preserves may have gone in between;
// more than it printed then may be there.
func Ready(want model.Probe, then, now model.CommandResult) []Comparison {
	out := []Comparison{check(want, then, now)}
	if !out[0].Same {
		return out
	}
	between := model.ProbeResult{Name: want.Name, Before: then, After: now}
	if !good(want, then) {
		return out // it failed as it did; there is nothing to be counted
	}
	if want.Preserve {
		out = append(out, preserving(between, model.ProbeResult{}))
	}
	if want.NotLess {
		out = append(out, counting(between, model.ProbeResult{}))
	}
	return out
}

// AsPredicted compares what the action did to a check in the trial with what it
// did in production. What was lost in the trial as well was predicted.
func AsPredicted(want model.Probe, trial, real model.ProbeResult) []Comparison {
	out := []Comparison{check(want, trial.After, real.After)}
	if want.Preserve {
		out = append(out, preserving(real, trial))
	}
	if want.NotLess {
		out = append(out, counting(real, trial))
	}
	return out
}

// Ended compares how the action ended.
func Ended(trial, real model.CommandResult) Comparison {
	c := Comparison{What: "the action", Trial: ending(trial), Real: ending(real)}
	c.Same = c.Trial == c.Real && real.Err == "" && real.Exit != nil
	return c
}

// ending is how a command ended, in a few words.
func ending(r model.CommandResult) string {
	switch {
	case r.Err != "":
		return "could not be run"
	case r.Exit == nil:
		return "did not end"
	case r.Exit.Signal != "":
		return "ended by " + r.Exit.Signal
	}
	return fmt.Sprintf("exit status %d", r.Exit.Code)
}

func check(want model.Probe, trial, real model.CommandResult) Comparison {
	c := Comparison{What: fmt.Sprintf("check %q", want.Name), Trial: outcome(want, trial), Real: outcome(want, real)}
	// How it fails does not matter, but that it fails.
	c.Same = good(want, trial) == good(want, real) && real.Err == ""
	return c
}

// preserving looks for lines that production printed before and does not print
// any more, and that the trial did not lose.
func preserving(real, trial model.ProbeResult) Comparison {
	c := Comparison{What: fmt.Sprintf("lines of %q", real.Name)}
	if why := incomparable(real); why != "" {
		c.Trial, c.Real = "nothing new is lost", "unknown: "+why
		return c
	}
	var gone []string
	if incomparable(trial) == "" {
		gone = missing(trial.Before.Output, trial.After.Output)
	}
	c.Lost = subtract(missing(real.Before.Output, real.After.Output), gone)
	c.Trial, c.Real = fmt.Sprintf("%d lost", len(gone)), fmt.Sprintf("%d lost", len(c.Lost)+len(gone))
	if c.Same = len(c.Lost) == 0; c.Same {
		c.Real = "nothing else lost"
	}
	return c
}

// counting looks for numbers that fell, by more than in the trial.
func counting(real, trial model.ProbeResult) Comparison {
	c := Comparison{What: fmt.Sprintf("numbers of %q", real.Name), Trial: "did not fall"}
	if why := incomparable(real); why != "" {
		c.Real = "unknown: " + why
		return c
	}
	before, after := numbers(real.Before.Output), numbers(real.After.Output)
	thenBefore, thenAfter := map[string]int64{}, map[string]int64{}
	if incomparable(trial) == "" {
		thenBefore, thenAfter = numbers(trial.Before.Output), numbers(trial.After.Output)
	}
	var fell []string
	for _, name := range names(before) {
		allowed := max(0, thenBefore[name]-thenAfter[name])
		if !strings.HasPrefix(name, told) && before[name]-after[name] > allowed {
			c.Lost = append(c.Lost, fmt.Sprintf("%s %d, then %d", name, before[name], after[name]))
			fell = append(fell, name)
		}
	}
	if c.Same = len(c.Lost) == 0; c.Same {
		c.Real = "did not fall"
	} else {
		c.Real = strings.Join(fell, ", ") + " fell"
	}
	return c
}
