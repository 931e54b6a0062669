package procfs

import (
	"bytes"
	"strconv"
)

// Status is what /proc/PID/status tells, proc_pid_status(5).
type Status struct {
	Name      string // as shown: a newline is "\n", a backslash "\\"
	Umask     uint32
	State     string // such as "S (sleeping)"
	Tgid      int
	PPID      int
	TracerPID int
	UIDs      []int // real, effective, saved, file system
	GIDs      []int // likewise
	Groups    []int
	NSpid     []int // in each pid namespace, the reader's first
	Resident  int64 // VmRSS in bytes
	// PageTables is VmPTE in bytes.
	PageTables int64
	Locked     int64 // VmLck in bytes
	Data       int64 // VmData in bytes: private memory that can be written
	Threads    int

	CoreDumping bool
	THPEnabled  bool

	// Queued signals and their limit: of the real user, not of the process.
	SigQueued, SigLimit uint64
	// Signal sets, signal n in bit n-1. ShdPnd are pending for the process,
	// the others tell of the one thread.
	SigPnd, ShdPnd, SigBlk, SigIgn, SigCgt uint64

	CapInh, CapPrm, CapEff, CapBnd, CapAmb uint64

	NoNewPrivs     bool
	Seccomp        int // 0 off, 1 strict, 2 filter
	SeccompFilters int
	// ThreadFeatures is x86_Thread_features, such as "shstk wrss".
	ThreadFeatures string
}

// ReadStatus reads /proc/PID/status.
func ReadStatus(pid int) (Status, error) { return parsed(path(pid, "status"), ParseStatus) }

// ReadTaskStatus reads /proc/PID/task/TID/status: that of one thread.
func ReadTaskStatus(pid, tid int) (Status, error) {
	return parsed(path(pid, "task/"+strconv.Itoa(tid)+"/status"), ParseStatus)
}

// ParseStatus parses the content of /proc/PID/status. Lines that it does not
// know are skipped.
func ParseStatus(text []byte) (s Status, err error) {
	for row := range lines(text) {
		key, value, ok := bytes.Cut(row, []byte{':'})
		l := line{rest: bytes.TrimSpace(value), bad: !ok}
		s.field(string(key), &l)
		if l.bad {
			return s, malformed("status", row)
		}
	}
	return s, nil
}

func (s *Status) field(key string, l *line) {
	switch key {
	case "Name":
		s.Name = string(l.rest)
	case "Umask":
		s.Umask = uint32(l.uint(8, 32))
	case "State":
		s.State = string(l.rest)
	case "Tgid":
		s.Tgid = int(l.int())
	case "PPid":
		s.PPID = int(l.int())
	case "TracerPid":
		s.TracerPID = int(l.int())
	case "Uid":
		s.UIDs = l.ints()
		l.expect(len(s.UIDs) == 4)
	case "Gid":
		s.GIDs = l.ints()
		l.expect(len(s.GIDs) == 4)
	case "Groups":
		s.Groups = l.ints()
	case "NSpid":
		s.NSpid = l.ints()
	case "VmRSS":
		s.Resident = l.kilobytes()
	case "VmPTE":
		s.PageTables = l.kilobytes()
	case "VmLck":
		s.Locked = l.kilobytes()
	case "VmData":
		s.Data = l.kilobytes()
	case "Threads":
		s.Threads = int(l.int())
	case "CoreDumping":
		s.CoreDumping = l.uint(10, 1) == 1
	case "THP_enabled":
		s.THPEnabled = l.uint(10, 1) == 1
	case "x86_Thread_features":
		s.ThreadFeatures = string(l.rest)
	default:
		s.restriction(key, l)
	}
}

// restriction takes the fields of signals, capabilities and seccomp.
func (s *Status) restriction(key string, l *line) {
	switch key {
	case "SigQ":
		s.SigQueued = l.number(l.upTo('/'), 10, 64)
		s.SigLimit = l.uint(10, 64)
	case "NoNewPrivs":
		s.NoNewPrivs = l.uint(10, 1) == 1
	case "Seccomp":
		s.Seccomp = int(l.uint(10, 31))
	case "Seccomp_filters":
		s.SeccompFilters = int(l.uint(10, 31))
	default:
		if set := s.set(key); set != nil {
			*set = l.uint(16, 64)
		}
	}
}

// set returns the field that holds a set of bits, nil for none.
func (s *Status) set(key string) *uint64 {
	switch key {
	case "SigPnd":
		return &s.SigPnd
	case "ShdPnd":
		return &s.ShdPnd
	case "SigBlk":
		return &s.SigBlk
	case "SigIgn":
		return &s.SigIgn
	case "SigCgt":
		return &s.SigCgt
	case "CapInh":
		return &s.CapInh
	case "CapPrm":
		return &s.CapPrm
	case "CapEff":
		return &s.CapEff
	case "CapBnd":
		return &s.CapBnd
	case "CapAmb":
		return &s.CapAmb
	}
	return nil
}

// kilobytes returns a number of bytes that is shown in units of 1024.
func (l *line) kilobytes() int64 {
	n := int64(l.uint(10, 53)) << 10
	l.expect(string(l.word()) == "kB")
	return n
}

// ints returns the remaining words as numbers, of 32 bits since user and group
// ids are.
func (l *line) ints() (out []int) {
	for w := l.word(); len(w) > 0; w = l.word() {
		out = append(out, int(l.number(w, 10, 32)))
	}
	return out
}
