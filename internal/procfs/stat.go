package procfs

import (
	"bytes"
	"strconv"
	"time"
)

// Stat is what /proc/PID/stat tells, in part, proc_pid_stat(5).
type Stat struct {
	PID     int
	Name    string
	State   byte // such as 'S'; 'Z' is a zombie
	PPID    int
	Pgrp    int
	Session int
	TTY     int // device number of the controlling terminal, 0 for none
	Flags   uint64
	// CPU is the processor time of its threads and of the children it has
	// waited for.
	CPU       time.Duration
	Nice      int
	Threads   int
	StartTime uint64 // clock ticks since boot
	// ExitCode is a wait status, of a zombie. It shows 0 to readers who may
	// not trace the process.
	ExitCode int
	Layout
}

// Layout is where the parts of a process's memory lie. It shows zeros to readers
// who may not trace the process.
type Layout struct {
	StartCode, EndCode, StartStack     uint64
	StartData, EndData, StartBrk       uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd uint64
}

// ReadStat reads /proc/PID/stat.
func ReadStat(pid int) (Stat, error) { return parsed(path(pid, "stat"), ParseStat) }

// ReadTaskStat reads /proc/PID/task/TID/stat: that of one thread.
func ReadTaskStat(pid, tid int) (Stat, error) {
	return parsed(path(pid, "task/"+strconv.Itoa(tid)+"/stat"), ParseStat)
}

// ParseStat parses the content of /proc/PID/stat.
func ParseStat(text []byte) (s Stat, err error) {
	// The name in parentheses may hold anything, parentheses included.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, malformed("stat", text)
	}
	l := line{rest: text[:open]}
	s.PID = int(l.int())
	s.Name = string(text[open+1 : end])
	l.rest = bytes.TrimSuffix(text[end+1:], []byte{'\n'})
	state := l.word()
	if len(state) != 1 {
		return s, malformed("stat", text)
	}
	s.State = state[0]
	// Numbers as in the man page, which counts from 1. The state is field 3.
	for field := 4; field <= 52; field++ {
		switch field {
		case 4:
			s.PPID = int(l.int())
		case 5:
			s.Pgrp = int(l.int())
		case 6:
			s.Session = int(l.int())
		case 7:
			s.TTY = int(l.int())
		case 9:
			s.Flags = l.uint(10, 64)
		case 14, 15, 16, 17: // cutime and cstime are signed
			s.CPU += ticks(uint64(l.int()))
		case 19:
			s.Nice = int(l.int())
		case 20:
			s.Threads = int(l.int())
		case 22:
			s.StartTime = l.uint(10, 64)
		case 26:
			s.StartCode = l.uint(10, 64)
		case 27:
			s.EndCode = l.uint(10, 64)
		case 28:
			s.StartStack = l.uint(10, 64)
		case 45:
			s.StartData = l.uint(10, 64)
		case 46:
			s.EndData = l.uint(10, 64)
		case 47:
			s.StartBrk = l.uint(10, 64)
		case 48:
			s.ArgStart = l.uint(10, 64)
		case 49:
			s.ArgEnd = l.uint(10, 64)
		case 50:
			s.EnvStart = l.uint(10, 64)
		case 51:
			s.EnvEnd = l.uint(10, 64)
		case 52:
			s.ExitCode = int(l.int())
		default:
			l.word()
		}
	}
	if l.bad {
		return s, malformed("stat", text)
	}
	return s, nil
}
