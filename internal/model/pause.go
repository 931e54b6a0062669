package model

import "time"

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
