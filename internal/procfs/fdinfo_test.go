package procfs

import (
	"reflect"
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

func TestParseFDInfo(t *testing.T) {
	const disk = 254 << 8 // what stat(2) tells of fe:00
	for name, want := range map[string]FDInfo{
		"deleted":    {Flags: 0o2100002, MntID: 27, Ino: 9977989},
		"dir":        {Flags: 0o2300000, MntID: 27, Ino: 9977926},
		"pipe":       {Flags: 0o2000000, MntID: 16, Ino: 274156},
		"memfd":      {Flags: 0o2100002, Ino: 1079},
		"pidfd":      {Flags: 0o2000002, MntID: 4, Ino: 2, Pid: 1, Raw: []byte("NSpid:\t1\n")},
		"socket_scm": {Flags: 0o2000002, MntID: 10, Ino: 274158, SCMFDs: 1},
		"eventfd":    {Flags: 0o4002, MntID: 17, Ino: 1038, EventfdCount: ptr(uint64(77)), EventfdID: 12, EventfdSemaphore: true},
		"signalfd":   {Flags: 2, MntID: 17, Ino: 1038, Sigmask: ptr(uint64(0x10200))},
		"timerfd": {Flags: 2, MntID: 17, Ino: 1038, Timerfd: &Timerfd{
			ClockID: 1, Value: 7199*time.Second + 980892230, Interval: 3*time.Second + 500,
		}},
		"epoll": {Flags: 0o2000002, MntID: 17, Ino: 1038, Epoll: []EpollEntry{
			{TFD: 17, Events: 0x40000019, Data: 0x11, Ino: 0x40e, Sdev: 16},
			{TFD: 16, Events: 0x80000019, Data: 0x10, Ino: 0x40e, Sdev: 16},
		}},
		"inotify": {MntID: 17, Ino: 1038, Inotify: []InotifyWatch{
			{WD: 2, Ino: 2, Sdev: disk, Mask: 0x100, FHandleType: 1, FHandle: []byte{2, 0, 0, 0, 0, 0, 0, 0}},
			{WD: 1, Ino: 0x984046, Sdev: disk, Mask: 0xfce, FHandleType: 1, FHandle: []byte{0x46, 0x40, 0x98, 0, 0xde, 0xf7, 0x9b, 0x61}},
		}},
		"locks": {Pos: 100, Flags: 0o2102002, MntID: 27, Ino: 9978022, Locks: []Lock{
			{"FLOCK", "READ", 11979, 0, -1}, {"POSIX", "WRITE", 11979, 5, 14}, {"OFDLCK", "READ", -1, 20, -1},
		}},
		"lease": {Flags: 0o2120000, MntID: 27, Ino: 9978039, Locks: []Lock{{"LEASE", "READ", 11979, 0, -1}}},
	} {
		if got := parse(t, "objects/fdinfo/"+name, ParseFDInfo); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestParseFDInfoFields(t *testing.T) {
	for text, want := range map[string]FDInfo{
		"clockid: 7\nticks: 3\nsettime flags: 03\nit_value: (0, 0)\nit_interval: (9223372036854775807, 0)\n": {
			Timerfd: &Timerfd{ClockID: 7, Ticks: 3, SettimeFlags: 3, Interval: 1<<63 - 1},
		},
		"Pid:\t-1\n":          {Pid: -1},
		"eventfd-id: -1\n":    {EventfdID: -1},
		"SqThread:\t-1\n":     {Raw: []byte("SqThread:\t-1\n")},
		"ticks: 4\n":          {Raw: []byte("ticks: 4\n")}, // of no timer
		"pos:\t-1\nfoo\nbar:": {Pos: -1, Raw: []byte("foo\nbar:\n")},
		"tfd:        5 events:       19 data: ffffffffffffffff  pos:9 ino:3c sdev:800003 more:1\n": {
			Epoll: []EpollEntry{{TFD: 5, Events: 0x19, Data: 1<<64 - 1, Pos: 9, Ino: 0x3c, Sdev: 8<<8 | 3}},
		},
		"tfd: 5 events: 19 data: 5\n":                      {Epoll: []EpollEntry{{TFD: 5, Events: 0x19, Data: 5}}}, // before Linux 4.13
		"inotify wd:a ino:1 sdev:0 mask:1\n":               {Inotify: []InotifyWatch{{WD: 10, Ino: 1, Mask: 1}}},
		"lock:\t1: FLOCK  ADVISORY  WRITE 7 fe:00:1 0 EOF": {Locks: []Lock{{"FLOCK", "WRITE", 7, 0, -1}}},
	} {
		if got, err := ParseFDInfo([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestMalformedFDInfo(t *testing.T) {
	refuses(t, ParseFDInfo, "pos: x", "flags: 9", "eventfd-count: xyz", "sigmask:", "clockid: x", "clockid: 1\nit_value: 3, 4",
		"clockid: 1\nit_value: (3 4)", "clockid: 1\nit_value: (3, x)", "tfd: x", "tfd: 1 events: xyz", "tfd: 1 events",
		"inotify wd:1 f_handle:abc", "inotify wd:1 f_handle:zz", "lock: 1: POSIX", "lock: 1: POSIX ADVISORY READ 7 f x 9",
		"lock: 1: POSIX ADVISORY READ 7 f 0 x", "scm_fds: x")
}

func TestParseTimers(t *testing.T) {
	got := parse(t, "objects/timers", ParseTimers)
	want := []Timer{
		{ID: 0, Signal: 14, Value: 0xdeadbeef, Notify: "signal", NotifyPID: 11979, ClockID: 1},
		{ID: 1, Value: 1, Notify: "none", NotifyPID: 11979},
		{ID: 2, Signal: 34, Value: 1<<64 - 1, Notify: "signal", NotifyTID: 11979, ClockID: -6},
		{ID: 3, Signal: 10, Notify: "thread", NotifyPID: 11979, ClockID: 7},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, mode := range []int{0, 1, 4, 2} { // SIGEV_SIGNAL, NONE, THREAD_ID, THREAD
		if got[i].NotifyMode() != mode {
			t.Errorf("timer %d: mode %d, want %d", i, got[i].NotifyMode(), mode)
		}
	}
	refuses(t, ParseTimers, "signal: 1/0\n", "ID: x\n", "ID: 1\nsignal: 1\n", "ID: 1\nnotify: signal/gid.1\n",
		"ID: 1\nnotify: fax/pid.1\n", "ID: 1\nnotify: signal/tid.x\n", "ID 1\n")
}

func BenchmarkParseFDInfo(b *testing.B) { benchmark(b, "objects/fdinfo/locks", ParseFDInfo) }
