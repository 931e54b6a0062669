//go:build linux

package trace

import "golang.org/x/sys/unix"

// What a program is told about a system call: bits of a u32.
const (
	callPlain = 1 // tell of it
	callSend  = 2 // its result is a number of bytes written to a descriptor
	callRecv  = 3 // or read from one
	callOpen  = 4
	callClass = 7

	pathShift   = 4 // an argument's number and 1
	secondShift = 8
	fdShift     = 12

	callTimed  = 1 << 16 // tell how long it took
	callFailed = 1 << 17 // tell also when it failed
	callStack  = 1 << 19 // with the call stack
	callLong   = 1 << 20 // only if it took long
	callTo     = 1 << 21 // with the socket address that is argument 1
)

// Where the descriptor is that a call is about.
const (
	fdFirst  = 1 << fdShift // argument 0
	fdThird  = 2 << fdShift // argument 2
	fdResult = 3 << fdShift
	fdMask   = 3 << fdShift
)

func path(arg uint32) uint32   { return (arg + 1) << pathShift }
func second(arg uint32) uint32 { return (arg + 1) << secondShift }

// interesting are the calls that are told about at both levels.
var interesting = map[uint32]uint32{
	unix.SYS_OPEN:    callOpen | path(0) | fdResult,
	unix.SYS_CREAT:   callOpen | path(0) | fdResult,
	unix.SYS_OPENAT:  callOpen | path(1) | fdResult,
	unix.SYS_OPENAT2: callOpen | path(1) | fdResult,

	unix.SYS_WRITE: callSend | callFailed | fdFirst, unix.SYS_WRITEV: callSend | callFailed | fdFirst,
	unix.SYS_PWRITE64: callSend | callFailed | fdFirst, unix.SYS_PWRITEV: callSend | callFailed | fdFirst,
	unix.SYS_PWRITEV2: callSend | callFailed | fdFirst, unix.SYS_SENDTO: callSend | callFailed | fdFirst,
	unix.SYS_SENDMSG: callSend | callFailed | fdFirst, unix.SYS_SENDFILE: callSend | callFailed | fdFirst,
	unix.SYS_COPY_FILE_RANGE: callSend | callFailed | fdThird,
	unix.SYS_READ:            callRecv | callFailed | fdFirst, unix.SYS_READV: callRecv | callFailed | fdFirst,
	unix.SYS_RECVFROM: callRecv | callFailed | fdFirst, unix.SYS_RECVMSG: callRecv | callFailed | fdFirst,

	unix.SYS_MKDIR: callPlain | path(0), unix.SYS_MKDIRAT: callPlain | path(1),
	unix.SYS_MKNOD: callPlain | path(0), unix.SYS_MKNODAT: callPlain | path(1),
	unix.SYS_LINK: callPlain | path(1), unix.SYS_LINKAT: callPlain | path(3),
	unix.SYS_SYMLINK: callPlain | path(1), unix.SYS_SYMLINKAT: callPlain | path(2),
	unix.SYS_UNLINK: callPlain | path(0), unix.SYS_UNLINKAT: callPlain | path(1), unix.SYS_RMDIR: callPlain | path(0),
	unix.SYS_RENAME: callPlain | path(0) | second(1), unix.SYS_RENAMEAT: callPlain | path(1) | second(3),
	unix.SYS_RENAMEAT2: callPlain | path(1) | second(3),
	unix.SYS_TRUNCATE:  callPlain | path(0), unix.SYS_FTRUNCATE: callPlain | fdFirst,
	unix.SYS_FSYNC: callPlain | fdFirst | callTimed | callFailed, unix.SYS_FDATASYNC: callPlain | fdFirst | callTimed | callFailed,

	unix.SYS_LISTEN: callPlain | fdFirst | callFailed, unix.SYS_CONNECT: callPlain | fdFirst | callFailed | callTo,
	unix.SYS_ACCEPT: callPlain | fdResult, unix.SYS_ACCEPT4: callPlain | fdResult,
}

// callTable is what the programs are told at a level.
func callTable(level Level) map[uint32]uint32 {
	out := map[uint32]uint32{}
	for nr, what := range interesting {
		if level != Full {
			what &^= callTimed
		} else {
			switch what & callClass {
			case callOpen:
				what |= callStack
			case callSend:
				what |= callStack | callTimed
			case callRecv:
				what |= callTimed
			}
		}
		out[nr] = what
	}
	if level == Full {
		out[unix.SYS_FUTEX] = callPlain | callTimed | callLong | callFailed | callStack
		out[unix.SYS_CONNECT] |= callStack
	}
	return out
}
