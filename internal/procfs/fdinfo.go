package procfs

import (
	"bytes"
	"strconv"
	"time"
)

// FDInfo is what /proc/PID/fdinfo/FD tells of an open file description,
// proc_pid_fdinfo(5).
type FDInfo struct {
	Pos   int64
	Flags int // of open(2), O_CLOEXEC included, which belongs to the descriptor
	MntID int
	Ino   uint64 // 0 before Linux 5.14

	EventfdCount     *uint64 // nil for what is not an eventfd(2)
	EventfdID        int     // -1 or 0 when the kernel gives none
	EventfdSemaphore bool
	Timerfd          *Timerfd
	Sigmask          *uint64 // of a signalfd(2), signal n in bit n-1
	Epoll            []EpollEntry
	Inotify          []InotifyWatch
	// Locks that were taken through this description, proc_locks(5). A POSIX
	// lock is shown for each description of the file that its owner has.
	Locks []Lock
	// Pid is the process of a pidfd, 0 for another kind of descriptor, and -1
	// when the process is gone or not in our pid namespace.
	Pid int
	// SCMFDs counts descriptors that are in flight to this unix socket,
	// SCM_RIGHTS of unix(7).
	SCMFDs int
	// Raw are the lines that were not understood, of kinds not listed here.
	Raw []byte
}

// A Timerfd is the state of a timerfd_create(2) descriptor.
type Timerfd struct {
	ClockID      int
	Ticks        uint64 // expirations that were not read yet
	SettimeFlags int
	Value        time.Duration // until the next expiration, 0 when disarmed
	Interval     time.Duration
}

// An EpollEntry is one entry of an interest list, epoll(7).
type EpollEntry struct {
	TFD    int // the descriptor's number when it was added
	Events uint32
	Data   uint64
	Pos    int64
	Ino    uint64
	Sdev   uint64 // as st_dev has it
}

// An InotifyWatch is one watch, inotify(7).
type InotifyWatch struct {
	WD          int
	Ino         uint64
	Sdev        uint64 // as st_dev has it
	Mask        uint32
	FHandleType int // for open_by_handle_at(2)
	FHandle     []byte
}

// A Lock is a lock on a file, proc_locks(5).
type Lock struct {
	Kind       string // "POSIX", "FLOCK", "OFDLCK", "LEASE", "DELEG", "ACCESS"
	Type       string // "READ" or "WRITE", "UNLCK" for a lease
	PID        int    // -1 for OFDLCK
	Start, End int64  // End is the last byte; -1 is the end of the file
}

// ReadFDInfo reads /proc/PID/fdinfo/FD.
func ReadFDInfo(pid, fd int) (FDInfo, error) {
	return parsed(path(pid, "fdinfo/"+strconv.Itoa(fd)), ParseFDInfo)
}

// ParseFDInfo parses the content of /proc/PID/fdinfo/FD.
func ParseFDInfo(text []byte) (i FDInfo, err error) {
	for row := range lines(text) {
		key, value, _ := bytes.Cut(row, []byte{':'})
		l := line{rest: bytes.TrimSpace(value)}
		if !i.common(string(key), &l) && !i.special(string(key), &l) && !i.listed(string(key), &l) {
			i.Raw = append(append(i.Raw, row...), '\n')
		}
		if l.bad {
			return i, malformed("fdinfo", row)
		}
	}
	return i, nil
}

// common takes the fields that all descriptors have. It reports whether key is
// one.
func (i *FDInfo) common(key string, l *line) bool {
	switch key {
	case "pos":
		i.Pos = l.int()
	case "flags":
		i.Flags = int(l.uint(8, 32))
	case "mnt_id":
		i.MntID = int(l.int())
	case "ino":
		i.Ino = l.uint(10, 64)
	case "scm_fds":
		i.SCMFDs = int(l.uint(10, 31))
	default:
		return false
	}
	return true
}

// special takes the fields of one kind of descriptor.
func (i *FDInfo) special(key string, l *line) bool {
	switch key {
	case "eventfd-count":
		n := l.uint(16, 64)
		i.EventfdCount = &n
	case "eventfd-id":
		i.EventfdID = int(l.int())
	case "eventfd-semaphore":
		i.EventfdSemaphore = l.uint(10, 1) == 1
	case "sigmask":
		n := l.uint(16, 64)
		i.Sigmask = &n
	case "Pid":
		i.Pid = int(l.int())
	case "clockid":
		i.Timerfd = &Timerfd{ClockID: int(l.int())}
	case "ticks", "settime flags", "it_value", "it_interval":
		if i.Timerfd == nil {
			return false
		}
		i.Timerfd.field(key, l)
	default:
		return false
	}
	return true
}

func (t *Timerfd) field(key string, l *line) {
	switch key {
	case "ticks":
		t.Ticks = l.uint(10, 64)
	case "settime flags":
		t.SettimeFlags = int(l.uint(8, 31))
	case "it_value":
		t.Value = l.timespec()
	case "it_interval":
		t.Interval = l.timespec()
	}
}

// timespec reads "(SECONDS, NANOSECONDS)". What exceeds a Duration, 292 years,
// is cut to that.
func (l *line) timespec() time.Duration {
	l.expect(len(l.upTo('(')) == 0)
	sec := l.number(l.upTo(','), 10, 63)
	l.rest = bytes.TrimLeft(l.rest, " ")
	nsec := l.number(l.upTo(')'), 10, 30)
	const most = time.Duration(1<<63 - 1)
	if sec >= uint64(most/time.Second) {
		return most
	}
	return time.Duration(sec)*time.Second + time.Duration(nsec)
}

// listed takes rows of which there may be several.
func (i *FDInfo) listed(key string, l *line) bool {
	switch key {
	case "tfd":
		i.Epoll = append(i.Epoll, parseEpoll(l))
	case "inotify wd":
		i.Inotify = append(i.Inotify, parseInotify(l))
	case "lock":
		i.Locks = append(i.Locks, parseLock(l))
	default:
		return false
	}
	return true
}

// parseEpoll parses what follows "tfd:". The kernel pads each number.
//
//	tfd:        5 events:       19 data: 100000005  pos:0 ino:3c sdev:8
func parseEpoll(l *line) (e EpollEntry) {
	e.TFD = int(l.int())
	for key := l.key(); len(key) > 0; key = l.key() {
		switch string(key) {
		case "events":
			e.Events = uint32(l.uint(16, 32))
		case "data":
			e.Data = l.uint(16, 64)
		case "pos":
			e.Pos = l.int()
		case "ino":
			e.Ino = l.uint(16, 64)
		case "sdev":
			e.Sdev = mkdevKernel(l.uint(16, 32))
		default:
			l.word()
		}
	}
	return e
}

// parseInotify parses what follows "inotify wd:".
//
//	inotify wd:1 ino:2 sdev:fe00000 mask:fce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:02000000b4e0dd2c
func parseInotify(l *line) (w InotifyWatch) {
	w.WD = int(l.uint(16, 31))
	for key := l.key(); len(key) > 0; key = l.key() {
		switch string(key) {
		case "ino":
			w.Ino = l.uint(16, 64)
		case "sdev":
			w.Sdev = mkdevKernel(l.uint(16, 32))
		case "mask":
			w.Mask = uint32(l.uint(16, 32))
		case "fhandle-type":
			w.FHandleType = int(l.uint(16, 31))
		case "f_handle":
			w.FHandle = l.hex()
		default:
			l.word()
		}
	}
	return w
}

// key returns the next word up to its colon, empty at the end of the line.
func (l *line) key() []byte {
	l.rest = bytes.TrimLeft(l.rest, " \t")
	if len(l.rest) == 0 || l.bad {
		return nil
	}
	return l.upTo(':')
}

// parseLock parses what follows "lock:".
//
//	lock:	1: POSIX  ADVISORY  WRITE 4225 00:30:9218 0 EOF
func parseLock(l *line) (k Lock) {
	l.upTo(':') // a number of no meaning
	k.Kind = string(l.word())
	l.word() // "ADVISORY", or the state of a lease
	k.Type = string(l.word())
	l.expect(k.Type != "")
	k.PID = int(l.int())
	l.word() // the file
	k.Start = l.int()
	if end := l.word(); string(end) == "EOF" {
		k.End = -1
	} else {
		k.End = int64(l.number(end, 10, 63))
	}
	return k
}

// hex decodes the next word.
func (l *line) hex() []byte {
	w := l.word()
	out := make([]byte, len(w)/2)
	for i := range out {
		out[i] = byte(l.number(w[2*i:2*i+2], 16, 8))
	}
	l.expect(len(w)%2 == 0)
	return out
}
