package model

import "time"

// Kinds of a second failure.
const (
	InjuryKill = "kill" // SIGKILL to the processes of the member
	InjuryStop = "stop" // SIGSTOP to them, and SIGCONT after a while
	// InjuryPartition lets no packet pass between the member and the others.
	InjuryPartition = "partition"
	// InjurySlowDisk has it wait longer for its disks.
	InjurySlowDisk = "slow-disk"
	// InjuryDiskFull leaves no room for its data.
	InjuryDiskFull = "disk-full"
)

// InjuryKinds are all of them.
var InjuryKinds = []string{InjuryKill, InjuryStop, InjuryPartition, InjurySlowDisk, InjuryDiskFull}

// An Injury is a second failure, which pilot makes in the trial while the action
// goes on: recoveries break when something else fails meanwhile.
type Injury struct {
	Kind   string `json:"kind"`
	Member string `json:"member"`
	// When it is made, as the user has said it: "2s", "action", "done",
	// "log:REGEXP" or "file:PATH".
	When string `json:"when"`
	// For is after how long it is taken back; 0 is never.
	For time.Duration `json:"for_ns,omitempty"`
}

// String is i as the user has said it.
func (i Injury) String() string {
	s := i.Kind
	if i.For > 0 {
		s += "=" + i.For.String()
	}
	return s + ":" + i.Member + "@" + i.When
}

// An Injured says what became of an [Injury].
type Injured struct {
	Injury
	// At is when it was made, since the release of the world; 0 when it was not.
	At time.Duration `json:"at_ns,omitempty"`
	// Until is when it was taken back.
	Until time.Duration `json:"until_ns,omitempty"`
	// PIDs are the processes that it was made to, as the world sees them.
	PIDs []int `json:"pids,omitempty"`
	// Err says why it was not made, or is empty.
	Err string `json:"error,omitempty"`
}
