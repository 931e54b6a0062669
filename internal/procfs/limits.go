package procfs

import (
	"bytes"
	"math"
)

// CoreLimit reads the hard limit of the size of core dumps of a process, in
// bytes, out of /proc/PID/limits; MaxUint64 stands for none.
func CoreLimit(pid int) (uint64, error) { return parsed(path(pid, "limits"), ParseCoreLimit) }

// ParseCoreLimit parses the content of /proc/PID/limits.
//
//	Max core file size        0                    unlimited            bytes
func ParseCoreLimit(text []byte) (uint64, error) {
	for row := range lines(text) {
		rest, ok := bytes.CutPrefix(row, []byte("Max core file size"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 3 {
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
