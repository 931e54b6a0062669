package procfs

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type VMA struct {
	Start, End                uint64
	Read, Write, Exec, Shared bool
	Offset, Dev, Inode        uint64
	Path                      string
	Deleted                   bool
	Flags                     []string
}

func (v VMA) Has(f string) bool {
	for _, x := range v.Flags {
		if x == f {
			return true
		}
	}
	return false
}
func mkdev(a, b uint64) uint64 {
	return (a&0xfff)<<8 | (a&^0xfff)<<32 | b&0xff | (b&^0xff)<<12
}
func Maps(pid int) ([]VMA, error)  { return maps(fmt.Sprintf("/proc/%d/maps", pid)) }
func Smaps(pid int) ([]VMA, error) { return maps(fmt.Sprintf("/proc/%d/smaps", pid)) }
func maps(path string) (out []VMA, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if f[0] == "VmFlags:" {
			out[len(out)-1].Flags = f[1:]
			continue
		}
		if strings.HasSuffix(f[0], ":") || !strings.Contains(f[0], "-") {
			continue
		}
		var v VMA
		fmt.Sscanf(f[0], "%x-%x", &v.Start, &v.End)
		v.Read, v.Write, v.Exec, v.Shared = f[1][0] == 'r', f[1][1] == 'w', f[1][2] == 'x', f[1][3] == 's'
		v.Offset, _ = strconv.ParseUint(f[2], 16, 64)
		var a, c uint64
		fmt.Sscanf(f[3], "%x:%x", &a, &c)
		v.Dev = mkdev(a, c)
		v.Inode, _ = strconv.ParseUint(f[4], 10, 64)
		if len(f) > 5 {
			v.Path = strings.Join(f[5:], " ")
			v.Path, v.Deleted = strings.CutSuffix(v.Path, " (deleted)")
		}
		out = append(out, v)
	}
	return out, nil
}

// Status is proc_pid_status(5), in part.
type Status struct {
	State          string
	PPID           int
	TracerPID      int
	UIDs           []int // real, effective, saved, file system
	CapEff         uint64
	Seccomp        int
	Resident       int64 // bytes
	ThreadFeatures string
}

// ReadStatus reads /proc/PID/status.
func ReadStatus(pid int) (Status, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Status{}, err
	}
	return parseStatus(b)
}

func parseStatus(b []byte) (s Status, err error) {
	for line := range strings.SplitSeq(string(b), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			s.State = value
		case "PPid":
			s.PPID, err = strconv.Atoi(value)
		case "TracerPid":
			s.TracerPID, err = strconv.Atoi(value)
		case "Seccomp":
			s.Seccomp, err = strconv.Atoi(value)
		case "Uid":
			for _, f := range strings.Fields(value) {
				var uid int
				if uid, err = strconv.Atoi(f); err == nil {
					s.UIDs = append(s.UIDs, uid)
				}
			}
		case "CapEff":
			s.CapEff, err = strconv.ParseUint(value, 16, 64)
		case "VmRSS":
			var kb int64
			if kb, err = strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64); err == nil {
				s.Resident = kb << 10
			}
		case "x86_Thread_features":
			s.ThreadFeatures = value
		}
		if err != nil {
			return s, fmt.Errorf("status line %q: %w", line, err)
		}
	}
	return s, nil
}

// Stat is proc_pid_stat(5), in part.
type Stat struct {
	PPID      int
	StartTime uint64 // clock ticks since boot
	ExitCode  int    // as a wait status; of a zombie
}

// ReadStat reads /proc/PID/stat.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	return parseStat(b)
}

func parseStat(b []byte) (s Stat, err error) {
	// The name in parentheses may hold anything, parentheses included.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const first = 3 // the number of f[0] in the man page
	if len(f) <= 52-first {
		return s, fmt.Errorf("stat has %d fields", len(f))
	}
	if s.PPID, err = strconv.Atoi(f[4-first]); err != nil {
		return s, err
	}
	if s.StartTime, err = strconv.ParseUint(f[22-first], 10, 64); err != nil {
		return s, err
	}
	s.ExitCode, err = strconv.Atoi(f[52-first])
	return s, err
}

// Cmdline reads /proc/PID/cmdline.
func Cmdline(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

func ints(dir string) (out []int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	for _, n := range names {
		if i, err := strconv.Atoi(n); err == nil {
			out = append(out, i)
		}
	}
	sort.Ints(out)
	return out, err
}
func Tasks(pid int) ([]int, error) { return ints(fmt.Sprintf("/proc/%d/task", pid)) }
func FDs(pid int) ([]int, error)   { return ints(fmt.Sprintf("/proc/%d/fd", pid)) }
func Namespaces(pid int) (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, n := range []string{"user", "mnt", "net", "ipc", "uts", "pid", "time", "cgroup"} {
		l, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n))
		if err != nil {
			return nil, err
		}
		l = l[strings.Index(l, "[")+1 : len(l)-1]
		out[n], _ = strconv.ParseUint(l, 10, 64)
	}
	return out, nil
}

type Timerfd struct {
	ClockID         int
	Ticks           uint64
	SettimeFlags    int
	Value, Interval time.Duration
}
type EpollEntry struct {
	TFD    int
	Events uint32
	Data   uint64
}
type InotifyWatch struct {
	WD          int
	Mask        uint32
	FHandleType int
	FHandle     []byte
}
type Lock struct {
	Kind, Type string
	PID        int
	Start, End int64
}

func (l Lock) Flock() syscall.Flock_t {
	f := syscall.Flock_t{Type: syscall.F_RDLCK, Start: l.Start}
	if l.Type == "WRITE" {
		f.Type = syscall.F_WRLCK
	}
	if l.End >= 0 {
		f.Len = l.End - l.Start + 1
	}
	return f
}

type FDInfo struct {
	Pos              int64
	Flags            int
	EventfdCount     *uint64
	EventfdSemaphore bool
	Timerfd          *Timerfd
	Sigmask          *uint64
	Epoll            []EpollEntry
	Inotify          []InotifyWatch
	Locks            []Lock
}

func ReadFDInfo(pid, fd int) (i FDInfo, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return i, err
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		k, v, _ := strings.Cut(sc.Text(), ":")
		v = strings.TrimSpace(v)
		f := strings.Fields(v)
		switch k {
		case "pos":
			i.Pos, _ = strconv.ParseInt(v, 10, 64)
		case "flags":
			n, _ := strconv.ParseInt(v, 8, 64)
			i.Flags = int(n)
		case "eventfd-count":
			n, _ := strconv.ParseUint(v, 16, 64)
			i.EventfdCount = &n
		case "eventfd-semaphore":
			i.EventfdSemaphore = v == "1"
		case "sigmask":
			n, _ := strconv.ParseUint(v, 16, 64)
			i.Sigmask = &n
		case "clockid":
			i.Timerfd = &Timerfd{}
			i.Timerfd.ClockID, _ = strconv.Atoi(v)
		case "ticks":
			i.Timerfd.Ticks, _ = strconv.ParseUint(v, 10, 64)
		case "it_value", "it_interval":
			var s, n int64
			fmt.Sscanf(v, "(%d, %d)", &s, &n)
			d := time.Duration(s)*time.Second + time.Duration(n)
			if k == "it_value" {
				i.Timerfd.Value = d
			} else {
				i.Timerfd.Interval = d
			}
		case "tfd":
			var e EpollEntry
			fmt.Sscanf(sc.Text(), "tfd: %d events: %x data: %x", &e.TFD, &e.Events, &e.Data)
			i.Epoll = append(i.Epoll, e)
		case "lock":
			l := Lock{Kind: f[1], Type: f[3]}
			l.Start, _ = strconv.ParseInt(f[6], 10, 64)
			l.End = -1
			if f[7] != "EOF" {
				l.End, _ = strconv.ParseInt(f[7], 10, 64)
			}
			i.Locks = append(i.Locks, l)
		}
		if strings.HasPrefix(sc.Text(), "inotify ") {
			w := InotifyWatch{}
			for _, p := range strings.Fields(sc.Text())[1:] {
				k, v, _ := strings.Cut(p, ":")
				n, _ := strconv.ParseUint(v, 16, 64)
				switch k {
				case "wd":
					w.WD = int(n)
				case "mask":
					w.Mask = uint32(n)
				case "fhandle-type":
					w.FHandleType = int(n)
				case "f_handle":
					w.FHandle, _ = hex.DecodeString(v)
				}
			}
			i.Inotify = append(i.Inotify, w)
		}
	}
	return i, nil
}

type Timer struct {
	ID, Signal int
	Value      uint64
	Notify     string
	NotifyTID  int
	ClockID    int
}

func (t Timer) NotifyMode() int {
	switch t.Notify {
	case "none":
		return 1
	case "thread":
		return 2
	case "signal":
		return 0
	}
	return 4
}
func ReadTimers(pid int) ([]Timer, error) { return nil, nil }
