package procfs

import (
	"bytes"
	"strconv"
	"time"
)

// Schedstat is what the scheduler tells of one thread,
// Documentation/scheduler/sched-stats.rst.
type Schedstat struct {
	CPU    time.Duration // on a processor
	Waited time.Duration // for one
	Slices uint64        // how often it was given one
}

// ReadTaskSchedstat reads /proc/PID/task/TID/schedstat.
func ReadTaskSchedstat(pid, tid int) (Schedstat, error) {
	return parsed(path(pid, "task/"+strconv.Itoa(tid)+"/schedstat"), ParseSchedstat)
}

// ParseSchedstat parses the content of a schedstat file of a thread.
func ParseSchedstat(text []byte) (s Schedstat, err error) {
	l := line{rest: bytes.TrimSuffix(text, []byte{'\n'})}
	s.CPU, s.Waited = time.Duration(l.uint(10, 63)), time.Duration(l.uint(10, 63))
	s.Slices = l.uint(10, 64)
	if l.bad {
		return s, malformed("schedstat", text)
	}
	return s, nil
}
