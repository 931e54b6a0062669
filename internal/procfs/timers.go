package procfs

import (
	"bytes"
	"slices"
)

// A Timer is a POSIX timer, timer_create(2), as proc_pid_timers(5) shows it.
// How much time is left only the process itself can ask.
type Timer struct {
	ID     int
	Signal int
	Value  uint64 // sigev_value
	Notify string // "signal", "none" or "thread"
	// NotifyTID is the thread that gets the signal, 0 when any may.
	NotifyTID int
	// NotifyPID is the process that gets it otherwise.
	NotifyPID int
	ClockID   int
}

// Values of sigev_notify, asm-generic/siginfo.h.
const (
	sigevSignal   = 0
	sigevNone     = 1
	sigevThread   = 2
	sigevThreadID = 4
)

// NotifyMode returns sigev_notify as timer_create(2) wants it.
func (t Timer) NotifyMode() int {
	mode := sigevSignal
	switch t.Notify {
	case "none":
		mode = sigevNone
	case "thread":
		mode = sigevThread
	}
	if t.NotifyTID != 0 {
		mode |= sigevThreadID
	}
	return mode
}

// ReadTimers reads /proc/PID/timers. A kernel without
// CONFIG_CHECKPOINT_RESTORE does not have it.
func ReadTimers(pid int) ([]Timer, error) { return parsed(path(pid, "timers"), ParseTimers) }

// ParseTimers parses the content of /proc/PID/timers. The result is in the
// order of the ids, which is that of creation; the kernel's is another.
func ParseTimers(text []byte) (out []Timer, err error) {
	for row := range lines(text) {
		key, value, ok := bytes.Cut(row, []byte(": "))
		l := line{rest: value, bad: !ok}
		switch {
		case string(key) == "ID":
			out = append(out, Timer{ID: int(l.int())})
		case len(out) == 0:
			l.bad = true
		default:
			out[len(out)-1].field(string(key), &l)
		}
		if l.bad {
			return nil, malformed("timers", row)
		}
	}
	slices.SortFunc(out, func(a, b Timer) int { return a.ID - b.ID })
	return out, nil
}

func (t *Timer) field(key string, l *line) {
	switch key {
	case "signal": // 14/00000000deadbeef
		t.Signal = int(l.number(l.upTo('/'), 10, 31))
		t.Value = l.uint(16, 64)
	case "notify": // signal/tid.4711
		t.Notify = string(l.upTo('/'))
		l.expect(t.Notify == "signal" || t.Notify == "none" || t.Notify == "thread")
		switch of := string(l.upTo('.')); of {
		case "tid":
			t.NotifyTID = int(l.int())
		case "pid":
			t.NotifyPID = int(l.int())
		default:
			l.bad = true
		}
	case "ClockID":
		t.ClockID = int(l.int())
	}
}
