//go:build linux

// Package tracee stops, reads and steers threads of other processes by ptrace(2).
//
// It knows two sorts of process. An [Origin] belongs to production: every
// change to one of its threads is crash-safe, which means that if the tracer
// dies between any two instructions the kernel lets the thread go and the
// thread finds its own way back to where it was. A [Puppet] is a process that
// pilot made (a seed, or a phantom being built); it dies with the tracer.
//
// All functions of one run must be called on one thread, an [osthread.Thread]:
// it becomes the tracer, and the kernel takes requests from no other.
package tracee

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// An Addr is an address in a tracee, never one of ours.
type Addr uint64

// A Call is one system call to be made by a tracee.
type Call struct {
	Nr   uint64
	Args [6]uint64
	// Ret is the result, a negated errno when it is in [-4095, -1].
	Ret int64
}

// Sys makes a Call of its arguments; missing ones are 0.
func Sys(nr uintptr, args ...uint64) Call {
	c := Call{Nr: uint64(nr)}
	copy(c.Args[:], args)
	return c
}

// Err returns the errno of a finished call, or nil.
func (c Call) Err() error {
	if c.Ret < 0 && c.Ret >= -4095 {
		return syscall.Errno(-c.Ret)
	}
	return nil
}

// readMem fills buf from the process behind mem (/proc/PID/mem) at addr.
func readMem(mem *os.File, addr Addr, buf []byte) error {
	if _, err := mem.ReadAt(buf, int64(addr)); err != nil {
		return fmt.Errorf("read %d bytes at %#x: %w", len(buf), uint64(addr), err)
	}
	return nil
}

func writeMem(mem *os.File, addr Addr, buf []byte) error {
	if _, err := mem.WriteAt(buf, int64(addr)); err != nil {
		return fmt.Errorf("write %d bytes at %#x: %w", len(buf), uint64(addr), err)
	}
	return nil
}

// pollInterval is how long the tracer sleeps between looks at a tracee that
// has not stopped yet. A stop takes a few microseconds, so the first looks spin.
const (
	pollSpins    = 200
	pollInterval = 20 * time.Microsecond
)

// wait returns the next stop of tid, or ErrBudget when deadline passes first.
// A blocking wait4 could not be bounded: a tracee in uninterruptible sleep
// would hold the tracer, and with it all of production.
func wait(tid int, deadline time.Time) (Stop, error) {
	for i := 0; ; i++ {
		got, ws, err := sys.WaitStop(tid)
		if err != nil {
			if isGone(err) {
				return Stop{}, fmt.Errorf("wait for tid %d: %w", tid, ErrGone)
			}
			return Stop{}, fmt.Errorf("wait for tid %d: %w", tid, err)
		}
		if got != 0 {
			return classify(ws)
		}
		if i < pollSpins {
			continue
		}
		if time.Now().After(deadline) {
			return Stop{}, fmt.Errorf("wait for tid %d: %w", tid, ErrBudget)
		}
		sys.Nanosleep(int64(pollInterval))
	}
}
