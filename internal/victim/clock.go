//go:build linux

package victim

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func clock(id int32) time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts)
	return span(ts)
}

// clocks looks at its clocks without a pause. It notes, in nanoseconds, by how
// much the wall clock, the boot clock and the raw monotonic clock have gone
// ahead of the monotonic clock since the start.
func clocks(string) (step, error) {
	others := []int32{unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME, unix.CLOCK_MONOTONIC_RAW}
	var ahead [3]atomic.Int64
	var back atomic.Int64
	begin := make([]time.Duration, len(others))
	for i, id := range others {
		begin[i] = apart(id)
	}
	go func() {
		runtime.LockOSThread()
		last := clock(unix.CLOCK_MONOTONIC)
		for {
			for i, id := range others {
				ahead[i].Store(int64(apart(id) - begin[i]))
				now := clock(unix.CLOCK_MONOTONIC)
				if now < last {
					back.Store(int64(last - now))
				}
				last = now
			}
		}
	}()
	return func() (string, error) {
		if n := back.Load(); n > 0 {
			return "", fmt.Errorf("the monotonic clock went back by %v", time.Duration(n))
		}
		return fmt.Sprint(ahead[0].Load(), ahead[1].Load(), ahead[2].Load()), nil
	}, nil
}

// apart is how far a clock is ahead of the monotonic clock.
func apart(id int32) time.Duration {
	for {
		before, there := clock(unix.CLOCK_MONOTONIC), clock(id)
		if took := clock(unix.CLOCK_MONOTONIC) - before; took < 100*time.Microsecond {
			return there - before // nothing came between
		}
	}
}
