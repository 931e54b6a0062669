// Package drift says what of the things that a trial depends on is no longer as
// it was. It decides; package witness reads.
package drift

import (
	"time"
)

// Version is the version of the encoding of a [Fingerprint].
const Version = 1

// A Fingerprint is what the outcome of a trial depends on, as it was when the
// run began. It holds the environment of the action as it is, secrets included.
type Fingerprint struct {
	Version int `json:"version"`
	// Run is the id of the run that it was taken for.
	Run  string    `json:"run"`
	Time time.Time `json:"time"`
	Host string    `json:"host"`
	// Boot is the id of the host's boot, which no other host has.
	Boot string `json:"boot_id"`
	// UID is who ran the pilot.
	UID int `json:"uid"`
	// Cluster is what the user types to confirm that production is meant.
	Cluster string   `json:"cluster"`
	Members []Member `json:"members"`
	Action  []string `json:"action"`
	Dir     string   `json:"dir"`
	Env     []string `json:"env"`
	// Place is the file that Dir leads to.
	Place File `json:"place"`
	// Files are the action's program, and the files that its arguments name.
	Files []File `json:"files"`
	// Config is pilot.yaml, nil where none was read.
	Config *File `json:"config,omitempty"`
	// Target is how the members were found, so that they can be looked for again.
	Target Target `json:"target"`
	// Roles are what the servers say of leader and members, one a line, sorted.
	Roles []string `json:"roles,omitempty"`
	// RolesErr says why nobody could be asked, or is empty.
	RolesErr string `json:"roles_error,omitempty"`
}

// A Target is what the user said of members.
type Target struct {
	Match  []string `json:"match,omitempty"`
	PIDs   []int    `json:"pids,omitempty"`
	Data   []string `json:"data,omitempty"`
	Preset string   `json:"preset,omitempty"`
	// Config is pilot.yaml, empty where none was read.
	Config string `json:"config,omitempty"`
}

// A Member is a node of the cluster. Without PID it is down.
type Member struct {
	Name string `json:"name"`
	PID  int    `json:"pid,omitempty"`
	// Start is when it was started, in clock ticks since boot.
	Start uint64 `json:"start_time,omitempty"`
	// Stack is where its main thread's stack begins. It changes when the process
	// executes a program, even if that is the same one.
	Stack uint64 `json:"stack,omitempty"`
	// Running is the file that it executes, and Program what is found at that
	// path: the file that it will execute when it is started again.
	Running File     `json:"running,omitzero"`
	Program File     `json:"program,omitzero"`
	Args    []string `json:"args,omitempty"`
	// UIDs and GIDs are the real, effective, saved and file system ones.
	UIDs   []int `json:"uids,omitempty"`
	GIDs   []int `json:"gids,omitempty"`
	Groups []int `json:"groups,omitempty"`
	// Spaces are its namespaces by kind. Apart says that its file system or its
	// network is not pilot's.
	Spaces map[string]uint64 `json:"namespaces,omitempty"`
	Apart  bool              `json:"apart,omitempty"`
	// Data tells apart the files of a member that is down.
	Data string `json:"data,omitempty"`
	// Up are processes that a member that is down has after all.
	Up []string `json:"up,omitempty"`
	// Gone says why a member that had a process has none.
	Gone string `json:"gone,omitempty"`
}

// A File is a file at one moment. What is 0 or empty is not known, or does not
// exist.
type File struct {
	Path  string    `json:"path"`
	Dev   uint64    `json:"dev,omitempty"`
	Inode uint64    `json:"inode,omitempty"`
	Size  int64     `json:"size,omitempty"`
	Mode  string    `json:"mode,omitempty"`
	Mtime time.Time `json:"mtime,omitzero"`
	// Sum is the SHA-256 of its content, in hexadecimal digits. Files that are too
	// large to be read have none.
	Sum string `json:"sha256,omitempty"`
	// Err says why it could not be read.
	Err string `json:"error,omitempty"`
}

// A Change is one thing that is not as it was.
type Change struct {
	What string // whose it is, and which
	Was  string
	Is   string
	Next string // what to do about it
}

// again is what to do about nearly all changes.
const again = "pilot it again"

// String is the change on one line.
func (c Change) String() string {
	return c.What + ": was " + c.Was + ", is " + c.Is + ": " + c.Next
}
