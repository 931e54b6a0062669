//go:build linux

// Package seal says which system calls the processes of a world are stopped
// at, as a program for seccomp(2). It decides nothing else: what is stopped is
// handed to package supervise, which records it and answers.
//
// A world is sealed by its namespaces, mounts and lost capabilities. The filter
// is one layer more, for what these do not know (vsock, keyrings, io_uring), and
// it is how an attempt becomes visible.
package seal

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A Purpose says what is to be done with a call that was stopped at.
type Purpose int

const (
	// Refuse is for calls that nothing in a world may make. The arguments that
	// decide are numbers and no addresses, so the answer is safe from a thread
	// that changes them meanwhile.
	Refuse Purpose = iota
	// Connect is for calls with a socket address: they are looked at, and made.
	Connect
	// Signal is for calls that name another process: they are looked at, and made.
	Signal
	// Sync is for calls that wait for a disk, which may be made to wait longer.
	Sync
	// Write is for calls that may need room on a disk, which may be full.
	Write
)

// A Rule stops at one system call.
type Rule struct {
	Name    string
	Nr      uint32
	Purpose Purpose
	// Errno is what a refused call fails with.
	Errno unix.Errno
	// Arg is the argument that decides, and Test how.
	Arg    int
	Test   Test
	Values []uint32
	// Address is the argument with a socket address, of Connect, and Target the
	// one with a process, of Signal.
	Address, Target int
	// File is the argument with the descriptor that is written to, of Write,
	// Length the one that says how much, in bytes or, if Vector, in struct iovec,
	// which are where the argument before points to; and Offset the one that says
	// where, 0 where the file's own offset does.
	File, Length, Offset int
	Vector               bool
}

// A Test compares the low half of an argument.
type Test int

const (
	Always  Test = iota
	Equals       // one of Values
	Differs      // none of Values
	HasAny       // shares a bit with Values[0]
	Masked       // and Values[0] is one of the other values
	NotZero      // the whole argument
)

const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Rules is all that is stopped at. clone3, whose flags are in memory, is not: the
// world's limit of user namespaces refuses what could be made by it.
var Rules = slices.Concat(
	refused(unix.EPERM, map[string]uint32{
		"acct": unix.SYS_ACCT, "add_key": unix.SYS_ADD_KEY, "bpf": unix.SYS_BPF,
		"clock_settime": unix.SYS_CLOCK_SETTIME, "delete_module": unix.SYS_DELETE_MODULE,
		"finit_module": unix.SYS_FINIT_MODULE, "fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT,
		"fsopen": unix.SYS_FSOPEN, "fspick": unix.SYS_FSPICK, "init_module": unix.SYS_INIT_MODULE,
		"io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "ioperm": unix.SYS_IOPERM, "iopl": unix.SYS_IOPL,
		"kexec_file_load": unix.SYS_KEXEC_FILE_LOAD, "kexec_load": unix.SYS_KEXEC_LOAD, "keyctl": unix.SYS_KEYCTL,
		"lookup_dcookie": unix.SYS_LOOKUP_DCOOKIE, "mount": unix.SYS_MOUNT, "mount_setattr": unix.SYS_MOUNT_SETATTR,
		"move_mount": unix.SYS_MOVE_MOUNT, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT,
		"open_tree": unix.SYS_OPEN_TREE, "perf_event_open": unix.SYS_PERF_EVENT_OPEN,
		"pivot_root": unix.SYS_PIVOT_ROOT, "quotactl": unix.SYS_QUOTACTL, "quotactl_fd": unix.SYS_QUOTACTL_FD,
		"reboot": unix.SYS_REBOOT, "request_key": unix.SYS_REQUEST_KEY, "setns": unix.SYS_SETNS,
		"settimeofday": unix.SYS_SETTIMEOFDAY, "swapoff": unix.SYS_SWAPOFF, "swapon": unix.SYS_SWAPON,
		"umount2": unix.SYS_UMOUNT2, "userfaultfd": unix.SYS_USERFAULTFD,
	}),
	[]Rule{
		{Name: "clone", Nr: unix.SYS_CLONE, Errno: unix.EPERM, Test: HasAny, Values: []uint32{newNamespaces}},
		{Name: "unshare", Nr: unix.SYS_UNSHARE, Errno: unix.EPERM, Test: HasAny, Values: []uint32{newNamespaces | unix.CLONE_NEWTIME}},
		{Name: "mknod", Nr: unix.SYS_MKNOD, Errno: unix.EPERM, Arg: 1, Test: Masked, Values: []uint32{unix.S_IFMT, unix.S_IFCHR, unix.S_IFBLK}},
		{Name: "mknodat", Nr: unix.SYS_MKNODAT, Errno: unix.EPERM, Arg: 2, Test: Masked, Values: []uint32{unix.S_IFMT, unix.S_IFCHR, unix.S_IFBLK}},
		// Others than these are not held by a network namespace, or rarely needed.
		{Name: "socket", Nr: unix.SYS_SOCKET, Errno: unix.EAFNOSUPPORT, Test: Differs,
			Values: []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET}},
		// TIOCSTI types on a terminal, TIOCLINUX pastes on the console.
		{Name: "ioctl", Nr: unix.SYS_IOCTL, Errno: unix.EPERM, Arg: 1, Test: Equals, Values: []uint32{unix.TIOCSTI, unix.TIOCLINUX}},

		{Name: "connect", Nr: unix.SYS_CONNECT, Purpose: Connect, Address: 1},

		// Signal 0 asks only, and threads of one process signal each other by tgkill.
		{Name: "kill", Nr: unix.SYS_KILL, Purpose: Signal, Arg: 1, Test: NotZero},
		{Name: "pidfd_open", Nr: unix.SYS_PIDFD_OPEN, Purpose: Signal},
		{Name: "ptrace", Nr: unix.SYS_PTRACE, Purpose: Signal, Test: Equals, Values: []uint32{unix.PTRACE_ATTACH, unix.PTRACE_SEIZE}, Target: 1},
		{Name: "process_vm_readv", Nr: unix.SYS_PROCESS_VM_READV, Purpose: Signal},
		{Name: "process_vm_writev", Nr: unix.SYS_PROCESS_VM_WRITEV, Purpose: Signal},
	},
)

// Syncs are stopped at in processes whose disk may be made slow.
var Syncs = []Rule{
	{Name: "fsync", Nr: unix.SYS_FSYNC, Purpose: Sync}, {Name: "fdatasync", Nr: unix.SYS_FDATASYNC, Purpose: Sync},
	{Name: "sync_file_range", Nr: unix.SYS_SYNC_FILE_RANGE, Purpose: Sync}, {Name: "msync", Nr: unix.SYS_MSYNC, Purpose: Sync},
	{Name: "sync", Nr: unix.SYS_SYNC, Purpose: Sync}, {Name: "syncfs", Nr: unix.SYS_SYNCFS, Purpose: Sync},
}

// Writes are stopped at in processes whose disk may be full. What is written
// through mappings is not among them.
var Writes = []Rule{
	{Name: "write", Nr: unix.SYS_WRITE, Purpose: Write, Length: 2},
	{Name: "pwrite64", Nr: unix.SYS_PWRITE64, Purpose: Write, Length: 2, Offset: 3},
	{Name: "writev", Nr: unix.SYS_WRITEV, Purpose: Write, Length: 2, Vector: true},
	{Name: "pwritev", Nr: unix.SYS_PWRITEV, Purpose: Write, Length: 2, Vector: true, Offset: 3},
	{Name: "pwritev2", Nr: unix.SYS_PWRITEV2, Purpose: Write, Length: 2, Vector: true, Offset: 3},
	{Name: "fallocate", Nr: unix.SYS_FALLOCATE, Purpose: Write, Length: 3, Offset: 2,
		Arg: 1, Test: Equals, Values: []uint32{0, unix.FALLOC_FL_KEEP_SIZE}}, // others need no room
	{Name: "sendfile", Nr: unix.SYS_SENDFILE, Purpose: Write, Length: 3},
	{Name: "splice", Nr: unix.SYS_SPLICE, Purpose: Write, File: 2, Length: 4},
	{Name: "copy_file_range", Nr: unix.SYS_COPY_FILE_RANGE, Purpose: Write, File: 2, Length: 4},
}

func refused(errno unix.Errno, calls map[string]uint32) (rules []Rule) {
	for name, nr := range calls {
		rules = append(rules, Rule{Name: name, Nr: nr, Errno: errno})
	}
	slices.SortFunc(rules, func(a, b Rule) int { return int(a.Nr) - int(b.Nr) })
	return rules
}

// For finds the rule of a system call.
func For(nr uint32) (Rule, bool) {
	for _, all := range [][]Rule{Rules, Syncs, Writes} {
		if i := slices.IndexFunc(all, func(r Rule) bool { return r.Nr == nr }); i >= 0 {
			return all[i], true
		}
	}
	return Rule{}, false
}
