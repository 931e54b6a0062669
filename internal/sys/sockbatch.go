//go:build linux

package sys

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A SocketCall sets an integer option of a socket, or receives from it.
type SocketCall struct {
	Level, Name, Value int
	// Buf, when it is not nil, is filled by a recv with MSG_PEEK and
	// MSG_DONTWAIT instead.
	Buf []byte
	// Ret is the result, a negated errno when it is negative.
	Ret int
}

// Err returns the errno of a finished call, or nil.
func (c SocketCall) Err() error {
	if c.Ret < 0 {
		return unix.Errno(-c.Ret)
	}
	return nil
}

// A SocketBatch makes several calls on a socket in one system call. A signal,
// SIGKILL included, is acted upon only when a system call returns: so either
// all calls are made or none, whatever becomes of the process. It is an
// io_uring(7) that is submitted to synchronously.
type SocketBatch struct {
	fd     FD
	sq, cq []byte // the rings
	sqes   []byte
	params uringParams
	values [batchMost]int32 // what the options are set to
}

// batchMost is how many calls a batch can have: as many as the kernel
// allocates requests for at once (IO_REQ_ALLOC_BATCH, io_uring/io_uring.c), so
// that none can fail for want of memory when others were made.
const batchMost = 8

// include/uapi/linux/io_uring.h.
const (
	uringSubmitAll  = 1 << 7 // IORING_SETUP_SUBMIT_ALL
	uringOffSQ      = 0
	uringOffCQ      = 0x8000000
	uringOffSQEs    = 0x10000000
	uringOpRecv     = 27 // IORING_OP_RECV
	uringOpCmd      = 46 // IORING_OP_URING_CMD
	uringSetsockopt = 3  // SOCKET_URING_OP_SETSOCKOPT, Linux 6.7
	sizeofSQE       = 64
	sizeofCQE       = 16
)

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, sqCPU, sqIdle, features, wq uint32
	_                                                        [3]uint32
	sq                                                       struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// NewSocketBatch proves that this kernel can do it, with a socket of its own;
// otherwise the error wraps [ErrNotSupported]. The caller closes the result.
func NewSocketBatch() (*SocketBatch, error) {
	b := &SocketBatch{}
	b.params.flags = uringSubmitAll
	n, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, batchMost, uintptr(unsafe.Pointer(&b.params)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w (%w)", ErrNotSupported, errno)
	}
	b.fd = FD(n)
	unix.CloseOnExec(int(b.fd))
	err := b.mapRings()
	if err == nil {
		err = b.prove()
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func (b *SocketBatch) mapRings() (err error) {
	for _, m := range []struct {
		to   *[]byte
		off  int64
		size uint32
	}{
		{&b.sq, uringOffSQ, b.params.sq.array + 4*b.params.sqEntries},
		{&b.cq, uringOffCQ, b.params.cq.cqes + sizeofCQE*b.params.cqEntries},
		{&b.sqes, uringOffSQEs, sizeofSQE * b.params.sqEntries},
	} {
		*m.to, err = unix.Mmap(int(b.fd), m.off, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return os.NewSyscallError("mmap io_uring", err)
		}
	}
	return nil
}

// prove fills a batch with calls on a new socket. It also has the kernel
// allocate the requests that every later batch uses again.
func (b *SocketBatch) prove() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	var calls [batchMost]SocketCall
	for i := range calls {
		calls[i] = SocketCall{Level: unix.IPPROTO_TCP, Name: unix.TCP_NODELAY, Value: 1}
	}
	if err := b.Do(FD(fd), calls[:]); err != nil {
		return err
	}
	for _, c := range calls {
		if err := c.Err(); err != nil {
			return fmt.Errorf("set socket options by io_uring: %w (%w)", ErrNotSupported, err)
		}
	}
	if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on == 0 {
		return fmt.Errorf("set socket options by io_uring: no effect: %w", ErrNotSupported)
	}
	return nil
}

// Do makes the calls in order and fills in their results. It goes on past a
// call that fails.
func (b *SocketBatch) Do(fd FD, calls []SocketCall) error {
	if len(calls) > batchMost {
		return fmt.Errorf("batch of %d socket calls, at most %d", len(calls), batchMost)
	}
	tail := word(b.sq, b.params.sq.tail)
	for i := range calls {
		slot := (atomic.LoadUint32(tail) + uint32(i)) & (b.params.sqEntries - 1)
		b.fill(slot, fd, &calls[i], i)
		*word(b.sq, b.params.sq.array+4*slot) = slot
	}
	atomic.AddUint32(tail, uint32(len(calls)))
	n, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(b.fd), uintptr(len(calls)), 0, 0, 0, 0)
	runtime.KeepAlive(calls) // their buffers are known to the kernel by number
	if errno != 0 {
		return os.NewSyscallError("io_uring_enter", errno)
	}
	done := b.results(calls)
	if int(n) != len(calls) || done != len(calls) {
		return fmt.Errorf("io_uring took %d and ended %d of %d calls", n, done, len(calls))
	}
	return nil
}

// fill writes struct io_uring_sqe number slot.
func (b *SocketBatch) fill(slot uint32, fd FD, c *SocketCall, i int) {
	c.Ret = -int(unix.EINPROGRESS)
	e := b.sqes[slot*sizeofSQE:][:sizeofSQE]
	clear(e)
	put32 := func(at int, v uint32) { *(*uint32)(unsafe.Pointer(&e[at])) = v }
	put64 := func(at int, v uint64) { *(*uint64)(unsafe.Pointer(&e[at])) = v }
	put32(4, uint32(fd))
	put64(32, uint64(i)) // user_data
	if c.Buf != nil {
		e[0] = uringOpRecv
		put64(16, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.Buf)))))
		put32(24, uint32(len(c.Buf)))
		put32(28, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return
	}
	b.values[i] = int32(c.Value)
	e[0] = uringOpCmd
	put32(8, uringSetsockopt)
	put32(16, uint32(c.Level))
	put32(20, uint32(c.Name))
	put32(44, 4) // optlen
	put64(48, uint64(uintptr(unsafe.Pointer(&b.values[i]))))
}

// results takes what is in the completion queue.
func (b *SocketBatch) results(calls []SocketCall) (done int) {
	head, tail := word(b.cq, b.params.cq.head), word(b.cq, b.params.cq.tail)
	at, end := *head, atomic.LoadUint32(tail)
	for ; at != end; at++ {
		e := b.cq[b.params.cq.cqes+sizeofCQE*(at&(b.params.cqEntries-1)):]
		i := *(*uint64)(unsafe.Pointer(&e[0]))
		if i < uint64(len(calls)) {
			calls[i].Ret = int(*(*int32)(unsafe.Pointer(&e[8])))
			done++
		}
	}
	atomic.StoreUint32(head, end)
	return done
}

func word(ring []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[at])) }

// Close gives the ring back.
func (b *SocketBatch) Close() error {
	for _, m := range [][]byte{b.sq, b.cq, b.sqes} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	return b.fd.Close()
}
