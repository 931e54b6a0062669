//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// releaseGrace is how long threads that have not stopped when their process is
// let go are waited for. They run, or sleep where no signal reaches them.
const releaseGrace = 20 * time.Millisecond

// Release lets every thread go that is stopped. It goes on past errors, since a
// thread that is left stopped is the worst outcome. ReleaseLate must follow, when
// all origins are released: no one waits for a thread that takes its time to stop.
func (o *Origin) Release() error {
	var errs []error
	for _, tid := range o.stopped {
		switch err := detach(tid); {
		case isGone(err):
			o.late = append(o.late, tid) // it has ended, or it is not stopped
		case err != nil:
			errs = append(errs, fmt.Errorf("detach tid %d: %w", tid, err))
		}
		if err := fault.ThreadReleased.Hit(); err != nil {
			errs = append(errs, err)
		}
	}
	o.stopped, o.met, o.until = o.stopped[:0], nil, time.Time{}
	return errors.Join(errs...)
}

// ReleaseLate lets threads go that are seized and were not stopped when they
// should have gone. ptrace(2) has no way to let go of a thread that is not
// stopped, so they are watched until they are. Those that are still not stopped
// in the end run on, and go free with the tracer's thread; whoever waited for
// them in vain has told about it.
func (o *Origin) ReleaseLate() {
	late := slices.DeleteFunc(o.late, func(tid int) bool { return isGone(sys.Interrupt(tid)) })
	for deadline := time.Now().Add(releaseGrace); ; sys.Nanosleep(int64(pollInterval)) {
		late = slices.DeleteFunc(late, detachStopped)
		if len(late) == 0 || time.Now().After(deadline) {
			break
		}
	}
	o.late = nil
	for _, tid := range late {
		if !slices.Contains(o.stranded, tid) {
			o.stranded = append(o.stranded, tid)
		}
	}
}

// detachStopped reports whether tid is not a tracee any more. It lets it go if
// it is stopped, with the signal that it may have stopped for.
func detachStopped(tid int) bool {
	got, ws, err := sys.WaitStop(tid)
	if err != nil {
		return isGone(err)
	}
	if got == 0 {
		return false
	}
	stop, err := classify(ws)
	switch {
	case err != nil:
		return false
	case stop.Kind == StopExited:
		return true
	case stop.Kind != StopSignal:
		stop.Signal = 0
	}
	err = sys.Detach(tid, stop.Signal)
	return err == nil || isGone(err)
}
