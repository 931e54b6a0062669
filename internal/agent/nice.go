//go:build linux

package agent

import "github.com/pilotexec/pilot/internal/sys"

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

func (n niceness) modest() { _ = sys.Nice(max(int(n), modestNice)) }
func (n niceness) usual()  { _ = sys.Nice(int(n)) }
