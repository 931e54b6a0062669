package model

import "time"

// A Member is one node of the cluster: a running process, or a node that is
// down and known only by its data directories and command line.
type Member struct {
	Name string `json:"name"`
	// PID is the process in the agent's pid namespace, 0 when the member is down.
	PID int `json:"pid,omitempty"`
	// StartTime is field 22 of /proc/PID/stat, in clock ticks since boot. With
	// PID it identifies the process.
	StartTime uint64   `json:"start_time,omitempty"`
	Exe       string   `json:"exe,omitempty"`
	Args      []string `json:"args,omitempty"`
	// Dir is its working directory, as the process sees it.
	Dir string `json:"dir,omitempty"`
	// Data are the absolute paths of directories, or of single files, that the
	// world gets a writable copy of.
	Data []string `json:"data,omitempty"`
	// Known are directories that hold data by what a preset knows; with those go
	// what is found. They have no effect where Data are given.
	Known []string `json:"known,omitempty"`
}

// Down reports whether m has no running process.
func (m Member) Down() bool { return m.PID == 0 }

// A Probe is a command that is run in the trial and in the control world,
// before and after the action. It passes when it exits with status 0, and when
// what it prints is as the other fields want it.
type Probe struct {
	Name    string        `json:"name"`
	Command []string      `json:"command"`
	Timeout time.Duration `json:"timeout,omitempty"`
	// Expect is a regular expression that matches what is printed, or empty.
	Expect string `json:"expect,omitempty"`
	// Preserve wants every line that is printed before the action to be printed
	// after it: it lists what must not be lost.
	Preserve bool `json:"preserve,omitempty"`
	// NotLess wants the number that ends a line to be no smaller after the action
	// than before it, in every line that does not begin with ~.
	NotLess bool `json:"not_less,omitempty"`
	// SameAsControl wants both worlds to print the same after the action.
	SameAsControl bool `json:"same_as_control,omitempty"`
	// When is when it is run: a When constant, or empty for before and after the
	// action.
	When string `json:"when,omitempty"`
}

// When a [Probe] is run.
const (
	WhenBefore = "before" // only: it says what the action takes for granted
	WhenAfter  = "after"  // only
	WhenAlways = "always" // and in between, again and again
)

// AsksBefore and AsksAfter report whether p is run before, and after, the action.
func (p Probe) AsksBefore() bool { return p.When != WhenAfter }
func (p Probe) AsksAfter() bool  { return p.When != WhenBefore }

// A LogRule is about the lines that members log in a world.
type LogRule struct {
	Pattern string `json:"pattern"` // a regular expression
	// Require wants a line that matches in the trial. Otherwise none may be there
	// that the control has not too.
	Require bool `json:"require,omitempty"`
	// Severity is how grave it is when that is not so.
	Severity Severity `json:"severity"`
}

// A Spec is everything a run needs to know, with defaults filled in.
type Spec struct {
	Members []Member `json:"members"`
	// Action is the command under test, and Dir and Env where it starts.
	Action []string `json:"action"`
	Dir    string   `json:"dir"`
	Env    []string `json:"-"`
	// Shell is set when the action is a shell that somebody types to.
	Shell  bool    `json:"shell,omitempty"`
	Probes []Probe `json:"probes,omitempty"`
	// LogRules are about what the members log.
	LogRules []LogRule `json:"log_rules,omitempty"`
	// Egress says what is done about peers outside of the worlds. The first
	// rule that means a peer counts; what none means is denied.
	Egress []EgressRule `json:"egress,omitempty"`
	// MaxPause bounds how long production may be stopped.
	MaxPause time.Duration `json:"max_pause"`
	// Timeout bounds the action and the wait for quiet after it.
	Timeout time.Duration `json:"timeout"`
	// Settle is how long the world is watched after the action ended.
	Settle time.Duration `json:"settle"`
	// Patience is how much longer it is watched while that is wrong which time may
	// mend.
	Patience time.Duration `json:"patience,omitempty"`
	// Collapse puts the members' memory into huge pages before the pause.
	Collapse bool `json:"collapse,omitempty"`
	// Trace says which events are told: a Trace constant. Empty stands for off.
	Trace string `json:"trace,omitempty"`
	// Limits bound what the worlds take of the host.
	Limits Limits `json:"limits,omitzero"`
	// AlsoFail are second failures, which are made in the trial.
	AlsoFail []Injury `json:"also_fail,omitempty"`
	// Controls is how many worlds there are in which nothing is done. 0 stands
	// for 1. What differs between them is noise.
	Controls int `json:"controls,omitempty"`
}

// An EgressRule is a policy for peers outside of the worlds, package peer.
type EgressRule struct {
	Peer   string `json:"peer"`
	Policy string `json:"policy"`
	Reply  string `json:"reply,omitempty"` // of a stub
}

// A Refusal says why something cannot be piloted. It is found before anything
// is stopped.
type Refusal struct {
	Member string `json:"member,omitempty"`
	PID    int    `json:"pid,omitempty"`
	// Object is a descriptor ("fd 7"), an address range or a property.
	Object string `json:"object"`
	// Kind is the kernel's name of the object, such as "anon_inode:[io_uring]".
	Kind string `json:"kind"`
	Why  string `json:"why"`
	// Hint is what the user can do about it.
	Hint string `json:"hint,omitempty"`
}

// A Gap is something the world does not have, or has otherwise than the
// origin: a declared loss of fidelity.
type Gap struct {
	Member string `json:"member,omitempty"`
	Object string `json:"object"`
	Detail string `json:"detail"`
}
