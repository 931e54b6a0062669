package procfs

import (
	"bytes"
	"time"
)

// Processors is how the processors of the host have spent their time since boot,
// all together, proc_stat(5).
type Processors struct {
	Count int
	Total time.Duration
	Idle  time.Duration // also while tasks wait for a disk
}

// ReadProcessors reads /proc/stat.
func ReadProcessors() (Processors, error) { return parsed("/proc/stat", ParseProcessors) }

// ParseProcessors parses the content of /proc/stat.
func ParseProcessors(text []byte) (p Processors, err error) {
	for row := range lines(text) {
		l := line{rest: row}
		name := l.word()
		switch {
		case string(name) == "cpu":
			// user nice system idle iowait irq softirq steal; then guest times,
			// which are part of user.
			for field := range 8 {
				spent := ticks(l.uint(10, 63))
				p.Total += spent
				if field == 3 || field == 4 {
					p.Idle += spent
				}
			}
		case bytes.HasPrefix(name, []byte("cpu")):
			p.Count++
		}
		if l.bad {
			return p, malformed("stat", row)
		}
	}
	return p, nil
}

// ticks converts from clock ticks, of which there are USER_HZ in a second: 100
// for every program on amd64, whatever the kernel counts in.
func ticks(n uint64) time.Duration { return time.Duration(n) * (time.Second / 100) }
