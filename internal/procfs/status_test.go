package procfs

import (
	"reflect"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	const all = 0x1fffeffffff // without CAP_SYS_RESOURCE
	got := parse(t, "objects/status", ParseStatus)
	want := Status{
		Name: "python3", Umask: 0o27, State: "R (running)", Tgid: 11979, PPID: 11977,
		UIDs: []int{0, 0, 0, 0}, GIDs: []int{0, 0, 0, 0}, NSpid: []int{11979}, Resident: 19544 << 10, PageTables: 92 << 10, Data: 22288 << 10, Threads: 2,
		THPEnabled: true, SigQueued: 7, SigLimit: 96365,
		ShdPnd: 0x200, SigBlk: 0x10200, SigIgn: 0x1001000, SigCgt: 0x100000002,
		CapPrm: all, CapEff: all, CapBnd: all,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseStatusFields(t *testing.T) {
	got, err := ParseStatus([]byte("Name:\ta: b\nTracerPid:\t7\nUid:\t1\t2\t3\t4294967294\nGid:\t5\t6\t7\t8\nGroups:\t4 24 \n" +
		"NSpid:\t900\t1\nCoreDumping:\t1\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n" +
		"SigPnd:\t1\nCapInh:\tf\nx86_Thread_features:\tshstk wrss \nx86_Thread_features_locked:\t\nLater: x\n"))
	want := Status{
		Name: "a: b", TracerPID: 7, UIDs: []int{1, 2, 3, 4294967294}, GIDs: []int{5, 6, 7, 8}, Groups: []int{4, 24},
		NSpid: []int{900, 1}, CoreDumping: true, NoNewPrivs: true, Seccomp: 2, SeccompFilters: 3, SigPnd: 1, CapInh: 0xf,
		ThreadFeatures: "shstk wrss",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestParseStatusOfOthers(t *testing.T) {
	for name, state := range map[string]string{"zombie": "Z (zombie)", "kthread": "S (sleeping)", "go": "S (sleeping)", "java": "S (sleeping)"} {
		if s := parse(t, name+"/status", ParseStatus); s.State != state || s.Tgid == 0 || len(s.UIDs) != 4 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestMalformedStatus(t *testing.T) {
	refuses(t, ParseStatus, "PPid: x\n", "Uid: 0 0 0\n", "Gid: 0 0 0 x\n", "VmRSS: 4\n", "SigQ: 7\n", "CapEff: xyz\n", "no colon\n", "Seccomp:\n")
}

func TestParseStat(t *testing.T) {
	for name, want := range map[string]Stat{
		"objects": {PID: 11979, Name: "python3", State: 'R', PPID: 11977, Pgrp: 11931, Session: 3062, Flags: 4194304, CPU: 140 * time.Millisecond, Threads: 2, StartTime: 724705},
		"zombie":  {PID: 12545, Name: "python3", State: 'Z', PPID: 12496, Pgrp: 12061, Session: 3062, Flags: 4227148, Threads: 1, StartTime: 725205, ExitCode: 3 << 8},
		"kthread": {PID: 2, Name: "kthreadd", State: 'S', Flags: 2129984, CPU: 10 * time.Millisecond, Threads: 1, StartTime: 24},
	} {
		got := parse(t, name+"/stat", ParseStat)
		got.Layout = Layout{}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestParseStatLayout(t *testing.T) {
	want := Layout{
		StartCode: 0x56387b7e7000, EndCode: 0x56387b7e7155, StartStack: 0x7ffca604b710,
		StartData: 0x56387b7e9db0, EndData: 0x56387b7ea018, StartBrk: 0x56387daa0000,
		ArgStart: 0x7ffca604d89b, ArgEnd: 0x7ffca604d906, EnvStart: 0x7ffca604d906, EnvEnd: 0x7ffca604dfcf,
	}
	if got := parse(t, "objects/stat", ParseStat).Layout; got != want {
		t.Errorf("got %#v, want %#v", got, want)
	}
	if got := parse(t, "kthread/stat", ParseStat).Layout; got != (Layout{}) {
		t.Errorf("a kernel thread has %+v", got)
	}
}

func TestParseStatName(t *testing.T) {
	tail := " T 1 2 3 34816 -1 64 0 0 0 0 0 0 0 0 20 -5 9 0 77 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 9"
	for _, name := range []string{"", "a b", ") R 1 (", "(", "\n"} {
		got, err := ParseStat([]byte("5 (" + name + ")" + tail + "\n"))
		want := Stat{PID: 5, Name: name, State: 'T', PPID: 1, Pgrp: 2, Session: 3, TTY: 34816, Flags: 64, Nice: -5, Threads: 9, StartTime: 77, ExitCode: 9}
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
	refuses(t, ParseStat, "", "5", "5 (x", ")(", "5 (x) TT 1", "5 (x) T 1 2", "x (x)"+tail)
}
