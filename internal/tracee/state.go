//go:build linux

package tracee

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// seize makes tid a tracee.
//
// The kernel refuses a thread that has exited as if it were forbidden
// (ptrace_attach, exit_state). That is so for a moment, before it vanishes, and
// for the lead thread while another one is in execve(2).
func (o *Origin) seize(tid, options int) error {
	for try := 0; ; try++ {
		narrow := o.wards.widen() // an execve in progress makes the call wait
		err := sys.Seize(tid, options)
		narrow()
		switch {
		case err == nil:
			o.wards.add(tid)
			return nil
		case isGone(err):
			return ErrGone
		case !errors.Is(err, unix.EPERM) || try == seizeTries:
			return err
		}
		if !o.lives(tid) {
			return ErrGone
		}
		sys.Nanosleep(int64(time.Millisecond))
	}
}

// seizeTries is how often a thread is tried again: it may have changed since.
const seizeTries = 3

// asleep tells why a thread does not stop.
func (o *Origin) asleep(tid int) string {
	status, err := procfs.ReadTaskStatus(o.PID, tid)
	if err != nil {
		return fmt.Sprintf("thread %d does not stop", tid)
	}
	if !strings.HasPrefix(status.State, "D") {
		return fmt.Sprintf("thread %d (%s) does not stop, it is in state %s", tid, status.Name, status.State)
	}
	where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/wchan", o.PID, tid))
	return fmt.Sprintf("thread %d (%s) is in uninterruptible sleep, in %s", tid, status.Name, where)
}

// ErrReplaced means that the process runs another program by now, execve(2).
var ErrReplaced = errors.New("started another program")

// ErrLeaving means that threads of the process have ended and others have not.
var ErrLeaving = errors.New("was about to end, or to start another program")

// Replaced reports whether the helper is gone although its process lives on:
// execve(2) ends all threads but one.
func (o *Origin) Replaced() bool {
	return o.helper != 0 && errors.Is(sys.Tgkill(o.PID, o.helper, 0), unix.ESRCH) && !o.Ended()
}

// fateTime bounds the wait for an exit or an execve in progress: all threads
// must have ended first.
const fateTime = 300 * time.Millisecond

// Fate tells what has become of the process: [ErrGone], [ErrReplaced],
// [ErrLeaving], or nil when it is what it was. suspect is set when there is
// reason to doubt that.
func (o *Origin) Fate(suspect bool) error {
	defer o.wards.widen()()
	for deadline := time.Now().Add(fateTime); ; sys.Nanosleep(int64(time.Millisecond)) {
		if o.Ended() {
			// The lead thread is a zombie also while another one of its process is to take
			// its place, and that may have happened before the others are counted.
			tids, err := procfs.Tasks(o.PID)
			if err != nil || len(tids) < 2 && o.Ended() {
				return ErrGone
			}
			if time.Now().After(deadline) {
				return ErrLeaving
			}
			continue
		}
		var b [1]byte
		if err := readMem(o.mem, o.gadgets.Syscall, b[:]); errors.Is(err, io.EOF) {
			return ErrReplaced // its memory as it was has no user any more
		}
		intact := o.helper == 0 || o.lives(o.helper)
		if intact && !suspect || time.Now().After(deadline) {
			return nil
		}
	}
}

func (o *Origin) lives(tid int) bool {
	status, err := procfs.ReadTaskStatus(o.PID, tid)
	return err == nil && !strings.HasPrefix(status.State, "Z") && !strings.HasPrefix(status.State, "X")
}
