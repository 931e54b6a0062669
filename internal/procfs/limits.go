package procfs

import (
	"bytes"
	"math"
)

// Limits are rows of /proc/PID/limits, getrlimit(2).
const (
	LimitCore     = "Max core file size"
	LimitRealtime = "Max realtime priority"
)

// HardLimit reads a hard limit of a process; MaxUint64 stands for none.
func HardLimit(pid int, name string) (uint64, error) {
	return parsed(path(pid, "limits"), func(text []byte) (uint64, error) { return ParseHardLimit(text, name) })
}

// ParseHardLimit parses the content of /proc/PID/limits. Some rows have no unit.
//
//	Max core file size        0                    unlimited            bytes
func ParseHardLimit(text []byte, name string) (uint64, error) {
	for row := range lines(text) {
		rest, ok := bytes.CutPrefix(row, []byte(name+" "))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) < 2 || len(fields) > 3 {
			break
		}
		if string(fields[1]) == "unlimited" {
			return math.MaxUint64, nil
		}
		l := line{rest: fields[1]}
		if n := l.uint(10, 64); !l.bad {
			return n, nil
		}
		break
	}
	return 0, malformed("limits", text)
}
