//go:build linux

package victim

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a world cannot have. Each victim only holds it.

func hold(_ uintptr, _ uintptr, errno unix.Errno) (step, error) {
	if errno != 0 {
		return nil, errno
	}
	return func() (string, error) { return "", nil }, nil
}

func ioUring(string) (step, error) {
	params := make([]byte, 120) // struct io_uring_params
	return hold(unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params[0])), 0))
}

func perfEvent(string) (step, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_TASK_CLOCK}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	return func() (string, error) { return "", nil }, os.NewSyscallError("perf_event_open", ifNegative(fd, err))
}

func ifNegative(fd int, err error) error {
	if fd >= 0 {
		return nil
	}
	return err
}

func bpfMap(string) (step, error) {
	attr := struct { // union bpf_attr, of BPF_MAP_CREATE
		typ, key, value, entries, flags uint32
		_                               [100]byte
	}{typ: 2 /* BPF_MAP_TYPE_ARRAY */, key: 4, value: 4, entries: 1}
	return hold(unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)))
}

func userfault(string) (step, error) {
	return hold(unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0))
}

func sysvMemory(string) (step, error) {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
	if err != nil {
		return nil, err
	}
	_, err = unix.SysvShmAttach(id, 0, 0)
	// It goes when the last process that has it ends.
	if _, cerr := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err == nil {
		err = cerr
	}
	return func() (string, error) { return "", nil }, err
}

func bigMemory(string) (step, error) {
	_, err := mmap(-1, 65<<20, unix.MAP_SHARED|unix.MAP_ANON)
	return func() (string, error) { return "", nil }, err
}

func packetSocket(string) (step, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	return func() (string, error) { return "", nil }, os.NewSyscallError("socket", ifNegative(fd, err))
}
