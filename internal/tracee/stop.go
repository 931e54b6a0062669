//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/sys"
)

// ErrGone means that the tracee does not exist any more. It is normal: threads
// and processes end.
var ErrGone = errors.New("gone")

// ErrBudget means that the time allowed for the pause has passed.
var ErrBudget = errors.New("time allowed for the pause is used up")

// isGone tells the errnos of a tracee that ended from real failures.
func isGone(err error) bool {
	return errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ECHILD)
}

// A StopKind is a row of ptrace(2)'s table of stops.
type StopKind int

// The kinds of stop of a seized tracee.
const (
	StopExited    StopKind = iota // ended; no tracee any more
	StopInterrupt                 // our interrupt, or a thread just auto-attached
	StopGroup                     // job control: SIGSTOP and friends
	StopEvent                     // fork, clone, exec
	StopSyscall                   // entry or exit of a system call
	StopSignal                    // a signal is about to be delivered
)

// A Stop is one decoded wait status.
type Stop struct {
	Kind   StopKind
	Signal syscall.Signal // of StopSignal and StopGroup, or what killed it
	Event  int            // PTRACE_EVENT_* of StopEvent
	Code   int            // exit code of StopExited
}

// eventStop is PTRACE_EVENT_STOP, include/uapi/linux/ptrace.h.
const eventStop = 128

// classify decodes the wait status of a seized tracee.
func classify(ws syscall.WaitStatus) (Stop, error) {
	switch event := int(uint32(ws) >> 16); {
	case ws.Exited():
		return Stop{Kind: StopExited, Code: ws.ExitStatus()}, nil
	case ws.Signaled():
		return Stop{Kind: StopExited, Signal: ws.Signal()}, nil
	case !ws.Stopped():
		return Stop{}, fmt.Errorf("wait status %#x is not a stop", uint32(ws))
	case event == eventStop && ws.StopSignal() == syscall.SIGTRAP:
		return Stop{Kind: StopInterrupt}, nil
	case event == eventStop:
		return Stop{Kind: StopGroup, Signal: ws.StopSignal()}, nil
	case event != 0:
		return Stop{Kind: StopEvent, Event: event}, nil
	case ws.StopSignal() == syscall.SIGTRAP|0x80: // PTRACE_O_TRACESYSGOOD
		return Stop{Kind: StopSyscall}, nil
	default:
		return Stop{Kind: StopSignal, Signal: ws.StopSignal()}, nil
	}
}

// waitHalt waits until tid has obeyed an interrupt. Signals that arrive first
// are passed on: their handler's frame is then part of the stopped state. Any
// other stop takes the interrupt away (ptrace_stop, JOBCTL_TRAP_STOP), so it is
// asked for again.
func waitHalt(tid int, deadline time.Time) error {
	_, err := halt(tid, deadline)
	return err
}

// halt is waitHalt, and returns the stop: job control may have been first.
func halt(tid int, deadline time.Time) (Stop, error) {
	for {
		stop, err := wait(tid, deadline)
		if err != nil {
			return stop, err
		}
		switch stop.Kind {
		case StopInterrupt, StopGroup:
			return stop, nil
		case StopExited:
			return stop, fmt.Errorf("tid %d: %w", tid, ErrGone)
		case StopSignal:
			if err := fault.SignalSeen.Hit(); err != nil {
				return stop, err
			}
		default:
			stop.Signal = 0
		}
		if err = sys.Interrupt(tid); err == nil {
			err = sys.Cont(tid, stop.Signal)
		}
		if err != nil && !isGone(err) {
			return stop, err
		}
	}
}

// waitSyscall waits for the next system call stop of tid. It passes over event
// stops and returns the message of the last one, which for clone and fork is
// the new tid.
func waitSyscall(tid int, deadline time.Time) (child int, err error) {
	for {
		stop, err := wait(tid, deadline)
		if err != nil {
			return child, err
		}
		switch stop.Kind {
		case StopSyscall:
			return child, nil
		case StopEvent:
			msg, err := sys.EventMsg(tid)
			if err != nil {
				return child, err
			}
			child = int(msg)
		case StopInterrupt, StopGroup:
			// A leftover interrupt, or job control: the call goes on.
		case StopExited:
			return child, fmt.Errorf("tid %d: %w", tid, ErrGone)
		default:
			return child, fmt.Errorf("tid %d: unexpected %v in an injected call", tid, stop.Signal)
		}
		if err := sys.ContSyscall(tid); err != nil {
			return child, err
		}
	}
}
