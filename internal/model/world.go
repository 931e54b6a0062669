package model

import "time"

// An Exit says how a process ended.
type Exit struct {
	Code   int           `json:"code"`
	Signal string        `json:"signal,omitempty"` // such as "SIGSEGV", empty when it exited
	At     time.Duration `json:"at_ns"`            // since the world was released
}

// OK reports whether the process ended by exit(0).
func (e *Exit) OK() bool { return e != nil && e.Code == 0 && e.Signal == "" }

// A Process is one process of a world.
type Process struct {
	// PID is the process id as the world sees it; for a phantom it is its origin's,
	// as pilot sees that. Number is what the phantom of a member in a container is
	// called there, 0 for others.
	PID    int    `json:"pid"`
	Number int    `json:"number,omitempty"`
	Parent int    `json:"parent,omitempty"`
	Member string `json:"member,omitempty"`
	// Phantom is set for a process forked from production; others were started
	// in the world.
	Phantom bool `json:"phantom,omitempty"`
	// Cause says who started a process that is not a phantom: [CauseAction],
	// [CauseCheck] or [CausePhantom]. Empty when that is not known.
	Cause string   `json:"cause,omitempty"`
	Args  []string `json:"args,omitempty"`
	// Title is what a process that was started in the world has written over its
	// command line, and that differs from it.
	Title   string        `json:"title,omitempty"`
	Started time.Duration `json:"started_ns"`
	// Exit is nil while the process runs.
	Exit *Exit `json:"exit,omitempty"`
	// Output is the end of what it wrote to stdout and stderr.
	Output []string `json:"output,omitempty"`
	// Vitals are of a phantom that ran to the end.
	Vitals *Vitals `json:"vitals,omitempty"`
}

// Causes of a process that was started in a world.
const (
	CauseAction  = "action"  // the action or one of its descendants
	CauseCheck   = "check"   // a probe or one of its descendants
	CausePhantom = "phantom" // a descendant of a phantom
)

// A CommandResult is the outcome of the action or of a probe.
type CommandResult struct {
	// PID is the command's process as the world sees it, 0 when not known.
	PID  int   `json:"pid,omitempty"`
	Exit *Exit `json:"exit,omitempty"` // nil when it did not end in time
	// Err says why the command could not be started, or is empty.
	Err      string        `json:"error,omitempty"`
	Output   string        `json:"output,omitempty"` // stdout and stderr, the last 64 KiB; of a check 1 MiB
	Cut      bool          `json:"cut,omitempty"`    // there was more
	Duration time.Duration `json:"duration_ns"`
	// Skipped is set when the command was not to be run.
	Skipped bool `json:"skipped,omitempty"`
}

// OK reports whether the command ran and ended with status 0.
func (r CommandResult) OK() bool { return r.Err == "" && r.Exit.OK() }

// CutOff reports whether the command was still running when its time was over.
func (r CommandResult) CutOff() bool { return r.Err == "" && r.Exit == nil && !r.Skipped }

// A ProbeResult pairs the outcomes of one probe in one world.
type ProbeResult struct {
	Name    string        `json:"name"`
	Command []string      `json:"command"`
	Before  CommandResult `json:"before"`
	After   CommandResult `json:"after"`
	// Between is of a probe that is run all the time.
	Between *Between `json:"between,omitempty"`
}

// Between is how a probe fared from the beginning of the action until the world
// was quiet.
type Between struct {
	Asked  int `json:"asked"`
	Failed int `json:"failed"`
	// First is the first result that was not good, and At when that was asked for,
	// since the release of the world. Until is when the last one was; Failed times
	// lie between them.
	First CommandResult `json:"first,omitzero"`
	At    time.Duration `json:"at_ns,omitempty"`
	Until time.Duration `json:"until_ns,omitempty"`
}

// Add counts one more result, which was asked for at a time.
func (b *Between) Add(at time.Duration, got CommandResult, good bool) {
	b.Asked++
	if good {
		return
	}
	if b.Failed == 0 {
		b.First, b.At = got, at
	}
	b.Failed++
	b.Until = at
}

// A LogMatch is what the logs of a world have of a [LogRule].
type LogMatch struct {
	Pattern string `json:"pattern"`
	Member  string `json:"member,omitempty"` // of the first line; empty for the action
	Source  string `json:"source"`           // likewise
	Count   int    `json:"count"`            // of all members
	First   string `json:"first"`
	// At is when the first line was seen in the log, since the release of the
	// world; 0 where that is not known.
	At time.Duration `json:"at_ns,omitempty"`
}

// A FileChange is one path below a data directory that differs between the
// snapshot's image and the world at its end.
type FileChange struct {
	Sign   string `json:"sign"` // "+", "~" or "-"
	Path   string `json:"path"`
	Member string `json:"member,omitempty"`
	Old    int64  `json:"old_size,omitempty"`
	New    int64  `json:"new_size,omitempty"`
	// Meaning says what became of what the file holds, where its format is known:
	// "etcd wal: entries 1..4823 -> entries 1..4100". Diff is of texts.
	Meaning string `json:"meaning,omitempty"`
	Diff    string `json:"diff,omitempty"`
	// Lost is how many records it has fewer than before, 0 when that is not known.
	Lost int64 `json:"lost_records,omitempty"`
}

// An Attempt is something that a process of a world tried and that would have
// reached out of it. It was stopped, or answered as the run's policy says.
type Attempt struct {
	At      time.Duration `json:"at_ns"` // of the first, since the world was released
	PID     int           `json:"pid,omitempty"`
	TID     int           `json:"tid,omitempty"`
	Member  string        `json:"member,omitempty"`
	Process string        `json:"process,omitempty"` // its name, or its command line
	// Op is what was tried: "connect", "send", "resolve", "http POST", "tls", or
	// the name of a system call.
	Op string `json:"op"`
	// Target is what it was tried on, such as "tcp 10.0.0.7:443", or empty.
	Target string `json:"target,omitempty"`
	// By is the layer that stopped it: "network", "seccomp", "policy".
	By string `json:"by"`
	// Answer is what the process was told: an errno's name, or one of the
	// Answer constants, perhaps with more words behind a colon.
	Answer string `json:"answer,omitempty"`
	// Stack is the call stack of the thread, innermost first, where it is known.
	Stack []string `json:"stack,omitempty"`
	// Count is how often it was tried.
	Count int `json:"count"`
}

// Answers that are no errors.
const (
	AnswerStub    = "stub"       // the fixed reply of a policy
	AnswerRead    = "read"       // passed on, since it only reads
	AnswerRefused = "refuse-run" // denied, and the run was ended
)

// Denied reports whether the process did not get what it tried to.
func (a Attempt) Denied() bool { return a.Answer != AnswerStub && a.Answer != AnswerRead }

// A LogGroup is the messages of one log that are alike.
type LogGroup struct {
	Member string `json:"member,omitempty"`
	// Source is the path of a file, or says whose output it was.
	Source string `json:"source"`
	Level  string `json:"level"` // "warning", "error" or "fatal"
	// Template has # for what varies among the messages.
	Template string `json:"template"`
	Count    int    `json:"count"`
	// At and Last are when the first and the last of them were seen in the log,
	// since the release of the world; 0 where that is not known.
	At   time.Duration `json:"at_ns,omitempty"`
	Last time.Duration `json:"last_ns,omitempty"`
	// First is the first of the messages, with the lines that continue it.
	First []string `json:"first"`
}

// Levels of a [LogGroup].
const (
	LogWarning = "warning"
	LogError   = "error"
	LogFatal   = "fatal"
)

// A World is what was observed in one world.
type World struct {
	Name string `json:"name"` // "trial" or "control"
	// Action is nil in the control.
	Action    *CommandResult `json:"action,omitempty"`
	Processes []Process      `json:"processes"`
	Probes    []ProbeResult  `json:"probes,omitempty"`
	Files     []FileChange   `json:"files,omitempty"`
	// Stores are the data of known systems that changed, and their replicas.
	Stores   []Store   `json:"stores,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"`
	// Logs are the warnings and worse that were logged since the release.
	Logs []LogGroup `json:"logs,omitempty"`
	// LogMatches are the lines that the run has rules about.
	LogMatches []LogMatch `json:"log_matches,omitempty"`
	// Listening are the addresses on which anything in the world took TCP
	// connections at its end.
	Listening []string `json:"listening,omitempty"`
	// Events are in the order of their times. None unless the run traces.
	Events []Event `json:"events,omitempty"`
	// Incomplete names what could not be observed. A pass is then impossible.
	Incomplete []string `json:"incomplete,omitempty"`
	// Ended says why pilot ended the world early, or that it was kept from what
	// production would have had. Neither a pass nor a fail is possible then.
	Ended string `json:"ended,omitempty"`
	Use   Use    `json:"use,omitzero"`
	// Steered is what the user did to the run; of the trial alone.
	Steered Steered `json:"steered,omitzero"`
	// DeadlineHit is set when the run's timeout ended the world.
	DeadlineHit bool `json:"deadline_hit,omitempty"`
	// WallClockAhead is by how much the wall clock jumped from the pause to the
	// release: it is the host's, while monotonic clocks go on from the pause.
	WallClockAhead time.Duration `json:"wall_clock_ahead_ns,omitempty"`
	Spawn          time.Duration `json:"spawn_ns"`
	Lifetime       time.Duration `json:"lifetime_ns"`
	// Injured says what became of each second failure.
	Injured []Injured `json:"injured,omitempty"`
	// Recovery is set where it was watched until the checks passed.
	Recovery *Recovery `json:"recovery,omitempty"`
}
