// Package model holds the plain data of a pilot run: what is asked for, what
// was seen, and what is concluded. It imports nothing of the kernel and builds
// on any system, so that decisions and reports can be tested anywhere.
//
// The words are those of docs/ARCHITECTURE.md: origin, snapshot, seed, world,
// phantom, action, trial, control, effect, verdict.
package model

import "time"

// Version is the version of the JSON encoding of a [Report].
const Version = 1

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

// Pause tells where the time went while production was stopped.
type Pause struct {
	Total   time.Duration `json:"total_ns"`
	Stop    time.Duration `json:"stop_ns"`    // interrupting every thread
	Capture time.Duration `json:"capture_ns"` // registers, descriptors, sockets, pipes
	Fork    time.Duration `json:"fork_ns"`    // copying the page tables
	Files   time.Duration `json:"files_ns"`   // the part of the data image that needs the pause
	Release time.Duration `json:"release_ns"`
	Threads int           `json:"threads"`
	Objects int           `json:"objects"` // open file descriptions captured
	// Connections counts TCP connections with both ends inside the cluster.
	Connections int `json:"connections"`
	// Outside counts TCP connections to processes that are not members.
	Outside int `json:"outside"`
	// Predicted is what was expected of Total, without Files.
	Predicted time.Duration `json:"predicted_ns,omitempty"`
	// Of the agent itself meanwhile: collections of garbage, objects and bytes
	// allocated on its heap, and how often its main thread waited for a page,
	// and for one from a disk.
	Collections int   `json:"collections,omitempty"`
	Allocations int   `json:"allocations,omitempty"`
	Allocated   int64 `json:"allocated_bytes,omitempty"`
	Faults      int   `json:"faults,omitempty"`
	Reads       int   `json:"reads,omitempty"`
}

// Plus adds up two pauses of which one follows the other.
func (p Pause) Plus(q Pause) Pause {
	p.Total += q.Total
	p.Stop += q.Stop
	p.Capture += q.Capture
	p.Fork += q.Fork
	p.Files += q.Files
	p.Release += q.Release
	p.Threads += q.Threads
	p.Objects += q.Objects
	p.Connections += q.Connections
	p.Outside += q.Outside
	p.Predicted += q.Predicted
	p.Collections += q.Collections
	p.Allocations += q.Allocations
	p.Allocated += q.Allocated
	p.Faults += q.Faults
	p.Reads += q.Reads
	return p
}

// A Collapse tells of small pages of members that were, or can be, put into huge
// ones, which are cloned in a thirtieth of the time.
type Collapse struct {
	Pages  int `json:"pages"`            // huge ones
	Failed int `json:"failed,omitempty"` // that could not be made
	// Duration is of all of it, and Worst of the longest call, in which new
	// mappings of the member may have waited.
	Duration time.Duration `json:"duration_ns"`
	Worst    time.Duration `json:"worst_ns"`
	// Saves is by how much the predicted pause is shorter.
	Saves time.Duration `json:"saves_ns,omitempty"`
	Err   string        `json:"error,omitempty"`
}

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

// Status is the verdict's one word.
type Status string

// The three verdicts. What is not proven is unknown, never pass.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Severity orders findings.
type Severity string

// Severities, gravest first. An error makes a verdict fail, an unproven makes
// it unknown, the others do not change it.
const (
	Error    Severity = "error"
	Unproven Severity = "unproven"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Evidence is one quoted fact.
type Evidence struct {
	Source string `json:"source"` // "log", "exit", "probe", "file"
	Text   string `json:"text"`
	// At is when, since the release of the world; 0 when that is not known.
	At time.Duration `json:"at_ns,omitempty"`
}

// A Finding is one thing that a rule noticed.
type Finding struct {
	Rule     string     `json:"rule"`
	Severity Severity   `json:"severity"`
	Member   string     `json:"member,omitempty"`
	PID      int        `json:"pid,omitempty"`
	Message  string     `json:"message"`
	Evidence []Evidence `json:"evidence,omitempty"`
	// Control says how the same thing looked in the control world.
	Control string `json:"control,omitempty"`
}

// An Effect is something the recovery did that outlives it.
type Effect struct {
	Sign   string `json:"sign"` // + created, ~ changed, - removed, ! tried to leave, x failed, ? unknown
	Kind   string `json:"kind"` // "file", "process"
	Object string `json:"object"`
	Member string `json:"member,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// A Difference compares one observation of the trial with the control.
type Difference struct {
	What    string `json:"what"`
	Trial   string `json:"trial"`
	Control string `json:"control"`
}

// A Verdict is the answer: five parts, always.
type Verdict struct {
	Status      Status       `json:"status"`
	Reason      string       `json:"reason"` // one sentence
	Findings    []Finding    `json:"findings"`
	Effects     []Effect     `json:"effects"`
	NotCovered  []Gap        `json:"not_covered"`
	Differences []Difference `json:"differences"`
	// Noise are findings that do not hold against every control, so that the
	// action is not blamed for them.
	Noise []Finding `json:"noise,omitempty"`
}

// A Report is a finished run, as it is stored and shown.
type Report struct {
	Version  int           `json:"version"`
	ID       string        `json:"id"`
	Tool     string        `json:"tool"` // pilot's version
	Host     string        `json:"host"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Spec     Spec          `json:"spec"`
	Pause    Pause         `json:"pause"`
	Collapse *Collapse     `json:"collapse,omitempty"`
	// Data says how the data directories were imaged, file system by file system.
	Data []DataWay `json:"data,omitempty"`
	// Part is set where the snapshot has more runs than this.
	Part    *Part   `json:"part,omitempty"`
	Trial   World   `json:"trial"`
	Control World   `json:"control"`
	Verdict Verdict `json:"verdict"`
	// Confinement says by which means the limits were in force, such as "cgroup
	// v1 (cpu, memory, pids)".
	Confinement string `json:"confinement,omitempty"`
	// Leftovers names what could not be erased at the end; normally empty.
	Leftovers []string `json:"leftovers,omitempty"`
}

// A DataWay says how what lies on one file system is imaged.
type DataWay struct {
	// Path is where the file system, or the subvolume, comes into view.
	Path string `json:"path"`
	FS   string `json:"fs"`
	Way  string `json:"way"`
	// Why says why there is no better way. Empty for the best.
	Why string `json:"why,omitempty"`
}

// Text is what people read of w, but for where it is.
func (w DataWay) Text() string {
	if w.Why == "" {
		return w.Way
	}
	return w.Way + " (" + w.Why + ")"
}

// An Observation is the input of the verdict.
type Observation struct {
	Spec    Spec
	Trial   World
	Control World
	// More are other controls, of the same snapshot as Control.
	More []World
	Gaps []Gap
	// Rationed is for how long production left the worlds no processor but a ration.
	Rationed time.Duration
}

// A Diagnosis is what `pilot doctor` says of one process.
type Diagnosis struct {
	Member    Member    `json:"member"`
	Threads   int       `json:"threads"`
	Resident  int64     `json:"resident_bytes"`
	Objects   []Object  `json:"objects"`
	Refusals  []Refusal `json:"refusals"`
	Gaps      []Gap     `json:"gaps"`
	DataBytes int64     `json:"data_bytes"`
	Data      []DataWay `json:"data,omitempty"`
	// Predicted is the expected share of the pause.
	Predicted Pause `json:"predicted_pause"`
	// Collapse is what --collapse would do; nil for nothing.
	Collapse *Collapse `json:"collapse,omitempty"`
}

// An Object is one row of doctor's table: a kind of kernel object, how many of
// them the process holds, and whether a world can have it.
type Object struct {
	Kind   string `json:"kind"`
	Count  int    `json:"count"`
	Status string `json:"status"` // "ok", "emulated" or "refused"
	Detail string `json:"detail,omitempty"`
}
