//go:build linux

package agent

import (
	"errors"
	"os"

	"github.com/pilotexec/pilot/internal/procfs"
	"golang.org/x/sys/unix"
)

// modestNice is the nice value of the agent while nothing waits for it: beside a
// thread of production that wants the same processor it gets a quarter of it, sched(7).
const modestNice = 5

// niceness is the nice value that the agent was started with.
//
// What it does before the pause and after the worlds' end (copying, reading what
// changed) is not urgent, and took a quarter of a saturated host's throughput for as
// long. From the pause until the worlds run it is: see [spawn.World.Wake].
//
// It is a courtesy: who may not change the value back stays modest.
type niceness int

func (n niceness) modest() { _ = renice(os.Getpid(), max(int(n), modestNice)) }
func (n niceness) usual()  { _ = renice(os.Getpid(), int(n)) }

// renice gives all threads of a process a nice value, which those that have real-time
// priority get when they lose it. Threads that are made later inherit it.
func renice(pid, value int) error {
	seen := map[int]bool{}
	for {
		tids, err := procfs.Tasks(pid)
		if err != nil {
			return err
		}
		before := len(seen)
		for _, tid := range tids {
			if seen[tid] {
				continue
			}
			seen[tid] = true
			if err := unix.Setpriority(unix.PRIO_PROCESS, tid, value); err != nil && !errors.Is(err, unix.ESRCH) {
				return os.NewSyscallError("setpriority", err)
			}
		}
		if len(seen) == before {
			return nil // a thread that was made meanwhile was made by one that had it
		}
	}
}
