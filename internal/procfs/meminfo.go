package procfs

import "bytes"

// Memory is what /proc/meminfo tells, in bytes, proc_meminfo(5).
type Memory struct {
	Total, Free int64
	// Available can be had without swapping, by an estimate of the kernel's.
	Available int64
	SwapTotal int64
	SwapFree  int64
	// Shmem is memory of tmpfs, which only swap could take back.
	Shmem int64
}

// ReadMemory reads /proc/meminfo.
func ReadMemory() (Memory, error) { return parsed("/proc/meminfo", ParseMemory) }

// ParseMemory parses the content of /proc/meminfo. Lines that it does not know
// are skipped.
func ParseMemory(text []byte) (m Memory, err error) {
	for row := range lines(text) {
		key, value, ok := bytes.Cut(row, []byte{':'})
		l := line{rest: value, bad: !ok}
		if field := m.field(string(key)); field != nil {
			*field = int64(l.uint(10, 53)) << 10
			l.expect(string(l.word()) == "kB")
		}
		if l.bad {
			return m, malformed("meminfo", row)
		}
	}
	return m, nil
}

func (m *Memory) field(key string) *int64 {
	switch key {
	case "MemTotal":
		return &m.Total
	case "MemFree":
		return &m.Free
	case "MemAvailable":
		return &m.Available
	case "SwapTotal":
		return &m.SwapTotal
	case "SwapFree":
		return &m.SwapFree
	case "Shmem":
		return &m.Shmem
	}
	return nil
}
