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
	ExecName = "pilot-world-exec"
)

// A Config describes the world to be built.
type Config struct {
	// Label tells people, in a list of processes, whose init this is.
	Label string
	// Binds are the writable copies of data directories and files.
	Binds []Bind
	// Addresses are the host's, in CIDR form, given to the loopback device.
	Addresses []string
	// DropCaps are the numbers of the capabilities that nothing in the world has.
	DropCaps []int
	// Owner is the user that the world's user namespace belongs to. Processes
	// of that user need no capability to enter it.
	Owner int
	// Within is a process whose user and pid namespaces those of the world are to
	// be children of; 0 stands for the agent. Then the world has no processes
	// before [Process.Number].
	Within int
	// Lender is a process that has the mounts of the agent unlocked, if they are
	// of a container, 0 otherwise: see borrow.
	Lender int
	// ScratchSize bounds each temporary file system of the world, in bytes; 0
	// leaves it to the kernel, which takes half of the host's memory.
	ScratchSize int64
}

// A Bind puts From, a path on the host, over To.
type Bind struct{ From, To string }

// A request goes from the agent to the world's init, one per packet.
type request struct {
	// One of these is set.
	Layers []string // where the mounts that come with it go; Config follows
	Config *Config
	// Numbers comes with a pid namespace and a procfs.
	Numbers bool
	Filter  bool // answered with the filter's listener
	Clock   *clock
	Start   *start
	Kill    int // SIGKILL to this pid

	Binds bool // Layers are copies of data, which go on top of all
}

// clock fixes the world's clocks, once, before its first process starts.
type clock struct {
	Monotonic, Boottime time.Duration // added to the host's
}

// start runs a command. A descriptor comes with it: the common stdout and
// stderr.
type start struct {
	ID   int
	Args []string
	Env  []string
	Dir  string
	// Terminal says that the descriptor is a terminal of the world, which is to be
	// the command's stdin and its controlling one, too.
	Terminal bool
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
