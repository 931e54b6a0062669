package model

import "time"

// An Event is one thing that a process of a world did, or that happened to it,
// after the release.
type Event struct {
	// At is when it began, since the world was released, and Took how long it
	// lasted, as far as that is worth telling: of what waits.
	At   time.Duration `json:"at_ns"`
	Took time.Duration `json:"took_ns,omitempty"`
	// PID and TID are those that [Process] has; TID is 0 for what all threads did.
	PID    int    `json:"pid"`
	TID    int    `json:"tid,omitempty"`
	Member string `json:"member,omitempty"`
	Kind   string `json:"kind"` // an Event constant
	// Object is what it was done to: a path, an address, a command line, a line
	// of a log, the name of a signal.
	Object string `json:"object,omitempty"`
	// To is the second path of a rename.
	To string `json:"to,omitempty"`
	// Child is the process or thread that was started.
	Child int `json:"child,omitempty"`
	// Conn is the same at both ends of a connection within a world, such as "tcp
	// 127.0.0.1:40112 127.0.0.1:2380", the end that connected first. Offset is how
	// many bytes went the same way before, and Bytes how many did now.
	Conn   string `json:"conn,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	// Error is the errno's name of what failed.
	Error string `json:"error,omitempty"`
	// Stack is the call stack of the thread, innermost first, where it is known,
	// Task the goroutine or so, such as "goroutine 12", and Maker what that was
	// started by: its task, and the place.
	Stack []string `json:"stack,omitempty"`
	Task  string   `json:"task,omitempty"`
	Maker string   `json:"maker,omitempty"`
	// Count is how many alike are told as this one, if more than one.
	Count int `json:"count,omitempty"`
}

// How much is told of what happens in worlds.
const (
	TraceOff     = "off"
	TraceEffects = "effects" // what outlives an instruction, merged
	TraceFull    = "full"    // also each send and receive, long waits, and call stacks
)

// Kinds of events.
const (
	EventStart    = "start"    // a process or thread: Child
	EventExec     = "exec"     // Object is the command line
	EventExit     = "exit"     // Object is "0", or the status, or the signal's name
	EventSignal   = "signal"   // was delivered
	EventCreate   = "create"   // a file or directory
	EventWrite    = "write"    // to a file
	EventTruncate = "truncate" // a file
	EventRename   = "rename"   // Object became To
	EventRemove   = "remove"   // a file or directory
	EventSync     = "sync"     // a file was written to its disk
	EventListen   = "listen"   // on an address
	EventConnect  = "connect"  // Error tells of refused ones
	EventAccept   = "accept"   // a connection
	EventSend     = "send"     // on a connection
	EventReceive  = "receive"  // on a connection; 0 bytes: the peer has closed it
	EventClose    = "close"    // a connection
	EventWait     = "wait"     // for a lock, long
	EventLog      = "log"      // a line that a program wrote about itself
	EventBlocked  = "blocked"  // what would have reached out of the world
)
