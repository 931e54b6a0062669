package verdict

import (
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// crashSignals are those by which a program dies of its own fault.
var crashSignals = []string{"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP", "SIGQUIT"}

// stopSignals are those by which somebody stops a program on purpose.
var stopSignals = []string{"SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"}

func crashed(e *model.Exit) bool { return e != nil && slices.Contains(crashSignals, e.Signal) }

// stopped reports whether the process may have ended because it was told to.
func stopped(e *model.Exit) bool { return e.OK() || e != nil && slices.Contains(stopSignals, e.Signal) }

// how says how a process ended: "was ended by SIGSEGV".
func how(e *model.Exit) string {
	switch {
	case e == nil:
		return "still ran"
	case e.Signal != "":
		return "was ended by " + e.Signal
	default:
		return fmt.Sprintf("ended with exit status %d", e.Code)
	}
}

// round shortens d to what a reader can use.
func round(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(time.Millisecond)
	default:
		return d.Round(time.Microsecond)
	}
}

// when places e against the end of the action: "1.2s after the action ended".
func when(o model.Observation, e *model.Exit) string {
	a := o.Trial.Action
	if e == nil || a == nil || a.Exit == nil {
		return ""
	}
	if d := e.At - a.Exit.At; d > 0 {
		return fmt.Sprintf(" %s after the action ended", round(d))
	}
	return " while the action ran"
}
