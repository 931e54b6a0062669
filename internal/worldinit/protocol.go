//go:build linux

// Package worldinit is the first process of a world: pid 1 of its pid
// namespace. It builds the world's mounts and network, starts the action and
// the probes, follows every process that they start, and ends the world with
// itself when the agent's end of its socket closes.
//
// It is the pilot binary, executed again under the name [Name].
package worldinit

import "time"

// Names under which the binary is executed again.
const (
	Name     = "pilot-world-init"
	execName = "pilot-world-exec"
)

// A Config describes the world to be built.
type Config struct {
	// Label tells people, in a list of processes, whose init this is.
	Label string
	// Binds are the writable copies of data directories and files.
	Binds []Bind
	// Masked are paths of the host's unix sockets: connect(2) reaches them even
	// through read-only mounts, so the world has an empty file in their place.
	Masked []string
	// Addresses are the host's, in CIDR form, given to the loopback device.
	Addresses []string
	// DropCaps are the numbers of the capabilities that nothing in the world has.
	DropCaps []int
	// ScratchSize bounds each temporary file system of the world, in bytes; 0
	// leaves it to the kernel, which takes half of the host's memory.
	ScratchSize int64
}

// A Bind puts From, a path on the host, over To.
type Bind struct{ From, To string }

// A request goes from the agent to the world's init, one per packet.
type request struct {
	// One of these is set.
	Config *Config
	Clock  *clock
	Start  *start
	Kill   int // SIGKILL to this pid
}

// clock fixes the world's clocks, once, before its first process starts.
type clock struct {
	Monotonic, Boottime time.Duration // added to the host's
}

// start runs a command. Two descriptors come with it: stdin and the common
// stdout and stderr.
type start struct {
	ID   int
	Args []string
	Env  []string
	Dir  string
}

// An Event goes from the world's init to the agent, one per packet.
type Event struct {
	Kind string // "ready", "started", "fork", "exec", "exit", "failed"
	ID   int    // of the command, for started and failed
	PID  int    // in the world's pid namespace
	// Parent is the process that forked PID.
	Parent int
	Args   []string
	Code   int
	Signal string
	Err    string
	At     time.Time
}
