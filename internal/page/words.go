package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// ms is d in milliseconds, which is how pauses are compared.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// at is a moment of a world.
func at(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// span is d, rounded for reading.
func span(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// size is n bytes for people.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < 3 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, []string{"KiB", "MiB", "GiB", "TiB"}[unit])
}

// number groups digits: 10 000.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		return number(n) + " " + what + "es"
	}
	return number(n) + " " + what + "s"
}

// percent is the share of whole that part is.
func percent(part, whole time.Duration) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// command is args as a person would type them.
func command(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'`$\\|&;<>()*?[]{}~#!") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// ended says how a process ended.
func ended(e *model.Exit) string {
	switch {
	case e == nil:
		return "runs"
	case e.Signal != "":
		return e.Signal
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

// how says what came of a command.
func how(r *model.CommandResult) string {
	switch {
	case r == nil:
		return "not run"
	case r.Err != "":
		return "not started: " + r.Err
	case r.Exit == nil:
		return "did not end"
	default:
		return fmt.Sprintf("%s after %s", ended(r.Exit), span(r.Duration))
	}
}

func lines(list []string) string { return strings.Join(list, "\n") }

// worldFacts says how a world came to be, and what it took.
func worldFacts(w model.World) string {
	text := fmt.Sprintf("spawned in %s, watched for %s", ms(w.Spawn), span(w.Lifetime))
	if r := w.Recovery; r != nil && r.Healthy {
		text += ", its checks passed " + span(r.After) + " after the action"
	} else if r != nil {
		text += ", its checks did not pass within " + span(r.After) + " after the action"
	}
	if w.Use.Memory > 0 {
		text += ", took " + size(w.Use.Memory) + " of memory"
	}
	if w.Use.Written > 0 {
		text += ", wrote " + size(w.Use.Written)
	}
	if w.DeadlineHit {
		text += ", ended by the deadline"
	}
	if w.Ended != "" {
		text += ", ended early: " + w.Ended
	}
	if w.Steered.Stopped != "" {
		text += ", stopped by the user in: " + w.Steered.Stopped
	}
	if more := w.Steered.Timeout + w.Steered.Settle; more > 0 {
		text += ", extended by " + span(more)
	}
	return text
}

// statusWord is a verdict as a word. What is not known is never a pass.
func statusWord(s model.Status) string {
	switch s {
	case model.Pass, model.Fail:
		return strings.ToUpper(string(s))
	}
	return "UNKNOWN"
}

// mostQuoted bounds the output that is shown of one process, in bytes.
const mostQuoted = 64 << 10

// A quote is the end of what a process wrote.
type quote struct {
	Text string
	Cut  bool
}

func tail(s string) quote {
	if len(s) <= mostQuoted {
		return quote{Text: s}
	}
	s = s[len(s)-mostQuoted:]
	if _, rest, found := strings.Cut(s, "\n"); found {
		s = rest
	}
	return quote{Text: s, Cut: true}
}

// fared says how a process fared while its world settled.
func fared(v *model.Vitals) string {
	text := fmt.Sprintf("%s; in %s it ran %s, for %s in all, and waited for a processor for %s; %s, %s of memory, %s",
		v.State, span(v.Window), count(int(v.Slices), "time"), span(v.CPU), span(v.Waited),
		count(v.Threads, "thread"), size(v.Resident), count(v.Connections, "connection"))
	if len(v.Listening) > 0 {
		text += "; listens on " + strings.Join(v.Listening, ", ")
	}
	return text
}
