package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A process that does nothing is told from an idle one by the control: servers
// have timers.
const (
	enough = time.Second // a shorter look proves nothing
	lively = 10          // slices a second in the control, at least
	still  = 50          // times as many in the control as in the trial
)

// A process that is busy in the trial and not in the control still works, or
// works for nothing. In shares of one processor.
const (
	busy = 0.8
	idle = 0.25
)

// What has grown by less than these, and by less than tenfold, is not worth a word.
const (
	grown       = 10
	moreMemory  = 256 << 20
	moreThreads = 200
	moreConns   = 200
)

// fared judges how phantoms fare after the action, beside those of the control.
func fared(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, t := range o.Trial.Processes {
		if !t.Phantom || t.Exit != nil || t.Vitals == nil {
			continue
		}
		c := phantom(o.Control, t.PID)
		if c == nil || c.Exit != nil || c.Vitals == nil {
			continue
		}
		if byPilot(o, t.PID, model.InjuryStop) {
			continue
		}
		for _, rule := range []func(t, c model.Process) *model.Finding{stuck, spinning, swollen} {
			if f := rule(t, *c); f != nil {
				f.Member, f.PID = t.Member, t.PID
				found = append(found, *f)
			}
		}
	}
	return append(found, unserved(o)...)
}

// stuck is a deadlock, or a process that was stopped and not let go.
func stuck(t, c model.Process) *model.Finding {
	v, w := t.Vitals, c.Vitals
	if stopped := strings.HasPrefix(v.State, "T"); stopped && !strings.HasPrefix(w.State, "T") {
		return &model.Finding{
			Rule: "stuck", Severity: model.Error, Message: name(t) + " is stopped by a signal and does nothing",
			Evidence: []model.Evidence{{Source: "process", Text: "State: " + v.State}}, Control: "runs",
		}
	}
	// Who waits for a processor is not stuck: on a busy host a world gets little.
	if min(v.Window, w.Window) < enough || float64(w.Slices) < lively*w.Window.Seconds() || v.Slices*still > w.Slices || v.Waited*10 > v.Window {
		return nil
	}
	return &model.Finding{
		Rule: "stuck", Severity: model.Error,
		Message:  fmt.Sprintf("%s does nothing any more: its threads wait", name(t)),
		Evidence: []model.Evidence{{Source: "process", Text: work(v)}},
		Control:  work(w),
	}
}

// work says how much a process did.
func work(v *model.Vitals) string {
	return fmt.Sprintf("its %d threads ran %d times in %s, for %s in all", v.Threads, v.Slices, seconds(v.Window), seconds(v.CPU))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// spinning is a livelock, or work that has not come to its end.
func spinning(t, c model.Process) *model.Finding {
	if min(t.Vitals.Window, c.Vitals.Window) < enough || load(t) < busy || load(c) > idle {
		return nil
	}
	return &model.Finding{
		Rule: "busy", Severity: model.Warning,
		Message:  fmt.Sprintf("%s is still busy after the action: it takes %.0f %% of a processor", name(t), 100*load(t)),
		Evidence: []model.Evidence{{Source: "process", Text: work(t.Vitals)}},
		Control:  fmt.Sprintf("takes %.0f %%", 100*load(c)),
	}
}

// load is the share of a processor that p had.
func load(p model.Process) float64 {
	if p.Vitals.Window <= 0 {
		return 0
	}
	return float64(p.Vitals.CPU) / float64(p.Vitals.Window)
}

// swollen is what takes far more than it takes in the control.
func swollen(t, c model.Process) *model.Finding {
	var what, there []string
	compare := func(of string, t, c, least int64, show func(int64) string) {
		if t-c >= least && t >= grown*max(c, 1) || of == "memory" && t-c >= 4*least && t >= 3*c {
			what, there = append(what, show(t)), append(there, show(c))
		}
	}
	count := func(what string) func(int64) string {
		return func(n int64) string { return fmt.Sprintf("%d %s", n, what) }
	}
	v, w := t.Vitals, c.Vitals
	compare("memory", v.Resident, w.Resident, moreMemory, func(n int64) string { return fmt.Sprintf("%d MiB of memory", n>>20) })
	compare("threads", int64(v.Threads), int64(w.Threads), moreThreads, count("threads"))
	compare("connections", int64(v.Connections), int64(w.Connections), moreConns, count("connections"))
	if len(what) == 0 {
		return nil
	}
	return &model.Finding{
		Rule: "swollen", Severity: model.Warning,
		Message: fmt.Sprintf("%s has %s after the action", name(t), strings.Join(what, " and ")),
		Control: "has " + strings.Join(there, " and "),
	}
}

// unserved are addresses on which nothing listens any more. Those of members that
// have ended without a replacement go without saying.
func unserved(o model.Observation) []model.Finding {
	var found []model.Finding
	for _, c := range o.Control.Processes {
		t := phantom(o.Trial, c.PID)
		if !c.Phantom || c.Vitals == nil || t == nil || t.Exit == nil && t.Vitals == nil || t.Exit != nil && replacement(o, *t) == nil {
			continue
		}
		var lost []string
		for _, addr := range c.Vitals.Listening {
			if !slices.Contains(o.Trial.Listening, addr) {
				lost = append(lost, addr)
			}
		}
		if len(lost) == 0 {
			continue
		}
		found = append(found, model.Finding{
			Rule: "service-gone", Severity: model.Error, Member: c.Member, PID: c.PID,
			Message: fmt.Sprintf("%s does not listen on %s any more", name(c), strings.Join(lost, ", ")),
			Control: "listens there",
		})
	}
	return found
}
