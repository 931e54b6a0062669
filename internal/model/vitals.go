package model

import "time"

// Vitals tell how a process fares while its world settles, after the action.
type Vitals struct {
	// State is the letter and the word of proc_pid_status(5), such as "S (sleeping)".
	State string `json:"state"`
	// Window is how long it was looked at, CPU what its threads had of the
	// processors meanwhile, Waited how long they wanted one, and Slices how often
	// they were given one: a process that does nothing at all has none.
	Window time.Duration `json:"window_ns"`
	CPU    time.Duration `json:"cpu_ns"`
	Waited time.Duration `json:"waited_ns"`
	Slices int64         `json:"slices"`
	// At the end: threads, resident memory, TCP connections, and the addresses
	// on which it listens.
	Threads     int      `json:"threads"`
	Resident    int64    `json:"resident_bytes"`
	Connections int      `json:"connections"`
	Listening   []string `json:"listening,omitempty"`
}
