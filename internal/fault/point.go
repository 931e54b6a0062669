// Package fault lets tests make pilot fail at every step that matters to
// production: the step returns an error, is late, or is the agent's last.
//
// Nothing is armed but by a call of [Arm], which only tests' agents make. Then
// a point is one load and one branch that is never taken; it allocates nothing.
package fault

import "fmt"

// A Point is a step of pilot that has just been made.
type Point uint8

// The points, in the order in which an undisturbed run meets them first. Those
// of the last group are met on the way back from an error only, and, the very last, where
// members are in a container.
const (
	none Point = iota

	AgentChecked
	AgentSwept
	ImageCopied
	AgentCopied

	ThreadSeized
	ThreadHeld
	FrameWritten
	RegsSet
	MaskSet
	CallEntered
	CallMade
	MaskRestored
	RegsRestored
	ThreadLetGo
	ArenaMapped
	FallbacksWritten
	HelperBorn
	HelperEmptied
	ThreadProbed
	MemberSurveyed

	ImageSettled
	ForkArmed
	DeadmanArmed
	ThreadInterrupted
	ThreadsStopped
	ClusterPaused
	ForkStarted
	ThreadCaptured
	ThreadsCaptured
	DescriptorsRead
	ImageFrozen
	SeedBorn
	SeedAdopted
	ClusterRead
	ThreadReleased
	ClusterReleased
	SeedFinished
	SnapshotTaken

	WorldCopied
	InitStarted
	StemForked
	WorldEntered
	PhantomForked
	ObjectsRestored
	DescriptorsInstalled
	MemoryMapped
	ProgramSet
	ClockSet
	ClockEntered
	CallsFiltered
	ThreadsMade
	ThreadEquipped
	WorkshopStripped
	ThreadBecame
	WorldAudited
	WorldSpawned
	PhantomReleased
	WorldReleased
	ProbesRun
	ActionRun
	WorldSettled

	InitKilled
	PhantomKilled
	PhantomReaped
	StemReaped
	WorldsClosed
	RunJudged
	SeedKilled
	SeedReaped
	HelperEnded
	ArenaUnmapped
	SnapshotClosed
	ImageRemoved

	SignalSeen
	ForkDisarmed

	// Of members in containers.
	ProgramHeld
	ContainerEntered
	MessengerBorn
	InitBorn
	MapsWritten
	EntryEnded
	NumbersEntered
	ReaperBorn
	ReaperMade
	WorldNumbered

	end
)

var names = [...]string{
	none: "none",

	AgentChecked: "agent: members checked",
	AgentSwept:   "agent: leftovers of dead agents swept",
	ImageCopied:  "image: data copied",
	AgentCopied:  "agent: image prepared",

	ThreadSeized:     "tracee: thread seized",
	ThreadHeld:       "tracee: thread stopped",
	FrameWritten:     "tracee: way back written",
	RegsSet:          "tracee: registers set to a call",
	MaskSet:          "tracee: signals blocked",
	CallEntered:      "tracee: at the entry of a call",
	CallMade:         "tracee: at the exit of a call",
	MaskRestored:     "tracee: signal mask put back",
	RegsRestored:     "tracee: registers put back",
	ThreadLetGo:      "tracee: thread let go",
	ArenaMapped:      "tracee: arena mapped",
	FallbacksWritten: "tracee: fallbacks written",
	HelperBorn:       "tracee: helper born",
	HelperEmptied:    "tracee: helper without descriptors",
	ThreadProbed:     "tracee: thread probed",
	MemberSurveyed:   "capture: member surveyed",

	ImageSettled:      "image: settled",
	ForkArmed:         "tracee: helper at the gate of the clone",
	DeadmanArmed:      "capture: deadman armed",
	ThreadInterrupted: "tracee: thread interrupted",
	ThreadsStopped:    "tracee: threads stopped",
	ClusterPaused:     "capture: all members paused",
	ForkStarted:       "tracee: clone begun",
	ThreadCaptured:    "tracee: thread captured",
	ThreadsCaptured:   "capture: threads read",
	DescriptorsRead:   "capture: descriptors read",
	ImageFrozen:       "image: frozen",
	SeedBorn:          "tracee: seed born",
	SeedAdopted:       "tracee: seed adopted",
	ClusterRead:       "capture: pause is about to end",
	ThreadReleased:    "tracee: thread released",
	ClusterReleased:   "capture: all members released",
	SeedFinished:      "capture: seed finished",
	SnapshotTaken:     "agent: snapshot taken",

	WorldCopied:          "spawn: world has its data",
	InitStarted:          "spawn: init started",
	StemForked:           "spawn: stem forked",
	WorldEntered:         "spawn: stem entered the world",
	PhantomForked:        "spawn: phantom forked",
	ObjectsRestored:      "spawn: objects restored",
	DescriptorsInstalled: "spawn: descriptors installed",
	MemoryMapped:         "spawn: shared memory mapped",
	ProgramSet:           "spawn: program set",
	ClockSet:             "spawn: clock set",
	ClockEntered:         "spawn: clock entered",
	CallsFiltered:        "spawn: calls filtered",
	ThreadsMade:          "spawn: threads made",
	ThreadEquipped:       "spawn: thread equipped",
	WorkshopStripped:     "spawn: workshop unmapped",
	ThreadBecame:         "spawn: thread has its state",
	WorldAudited:         "spawn: world audited",
	WorldSpawned:         "agent: world spawned",
	PhantomReleased:      "spawn: phantom released",
	WorldReleased:        "agent: world released",
	ProbesRun:            "agent: probes run",
	ActionRun:            "agent: action run",
	WorldSettled:         "agent: world settled",

	InitKilled:     "spawn: init killed",
	PhantomKilled:  "spawn: phantom killed",
	PhantomReaped:  "spawn: phantom reaped",
	StemReaped:     "spawn: stem reaped",
	WorldsClosed:   "agent: worlds closed",
	RunJudged:      "agent: run judged",
	SeedKilled:     "capture: seed killed",
	SeedReaped:     "capture: seed reaped",
	HelperEnded:    "tracee: helper ended",
	ArenaUnmapped:  "tracee: arena unmapped",
	SnapshotClosed: "agent: snapshot closed",
	ImageRemoved:   "agent: image removed",

	SignalSeen:   "tracee: thread about to take a signal",
	ForkDisarmed: "tracee: helper taken away from the gate",

	ProgramHeld:      "worldinit: program held at its execve",
	ContainerEntered: "worldinit: container entered",
	MessengerBorn:    "worldinit: messenger born",
	InitBorn:         "worldinit: init born in the container",
	MapsWritten:      "worldinit: maps of users written",
	EntryEnded:       "spawn: entry reaped",
	NumbersEntered:   "spawn: stem in the inner pid namespace",
	ReaperBorn:       "spawn: reaper born",
	ReaperMade:       "spawn: reaper made",
	WorldNumbered:    "spawn: init in the inner pid namespace",
}

// Adding a point to one list only does not compile.
var _ = [1]int{}[len(names)-int(end)]

// String returns the package and the step.
func (p Point) String() string {
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("point %d", uint8(p))
}

// InContainer reports whether only runs on members in a container come to p.
func (p Point) InContainer() bool { return p >= ProgramHeld }

// All returns every point there is.
func All() []Point {
	all := make([]Point, 0, end-1)
	for p := none + 1; p < end; p++ {
		all = append(all, p)
	}
	return all
}
