//go:build linux

// Package relay is a small cluster that knows who caused what in it: a client,
// a front server that asks a back server, threads or goroutines for workers,
// files, a process or two, and timers of their own in both servers.
//
// Each process writes to a file of its own what it did and for which request,
// its truth. So that the context tree can be tested without a tracer, it can
// write the events too that a tracer would have seen. With a tracer the same
// programs run as members and action of a run: see [Score].
package relay

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"golang.org/x/sys/unix"
)

// Name is how a test binary is executed again to become a process of the relay.
const Name = "pilot-relay"

// Roles of processes.
const (
	Front  = "front"
	Back   = "back"
	Client = "client"
	Helper = "helper"
)

// Styles of servers.
const (
	Tasks   = "tasks"   // goroutines, which the tracer knows
	Hidden  = "hidden"  // goroutines, of which the tracer sees the threads
	Threads = "threads" // a thread for each
	Loop    = "loop"    // the back server is one thread that does all; the front has threads
)

// A Config is what a process is told, as its one argument.
type Config struct {
	Role, Style string
	Dir         string // files, truth and events
	Front, Back string // addresses
	Requests    int    // of the client
	Clients     int    // connections of the client
	// Zero is when events are counted from, in ns since 1970. 0: none are written.
	Zero int64
	// For is the cause of what a helper does.
	For Ref
}

// A Ref names an event so that truth and tree can be compared.
type Ref struct {
	Member string `json:",omitempty"`
	Kind   string `json:",omitempty"`
	Object string `json:",omitempty"` // what has no Conn
	Conn   string `json:",omitempty"`
	Offset int64  `json:",omitempty"`
}

// The causes that are no requests.
var (
	OfAction = Ref{Kind: "action"}
	OfItself = Ref{}
	// OfMessage stands for what the sender of what was received did it for.
	OfMessage = Ref{Kind: "message"}
)

// A Fact is one line of a truth: Effect was done for Cause, the nearest request.
type Fact struct{ Effect, Cause Ref }

// refOf names e. Both ends of a connection may do the like, all else has an
// object of its own.
func refOf(e *model.Event) Ref {
	switch {
	case e.Conn != "":
		return Ref{Member: e.Member, Kind: e.Kind, Conn: e.Conn, Offset: e.Offset}
	case e.Kind == model.EventStart:
		return Ref{Kind: e.Kind, Object: strconv.Itoa(e.Child)}
	}
	return Ref{Kind: e.Kind, Object: e.Object}
}

// A recorder writes the files of a process.
type recorder struct {
	cfg  Config
	zero time.Time

	mu            sync.Mutex
	truth, events *os.File
}

func newRecorder(cfg Config) (*recorder, error) {
	r := &recorder{cfg: cfg, zero: time.Unix(0, cfg.Zero)}
	open := func(what string) (*os.File, error) {
		return os.OpenFile(filepath.Join(cfg.Dir, fmt.Sprintf("%s-%s-%d", what, cfg.Role, os.Getpid())), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	var err error
	if r.truth, err = open("truth"); err == nil && cfg.Zero != 0 {
		r.events, err = open("events")
	}
	return r, err
}

func (r *recorder) write(f *os.File, v any) {
	text, err := json.Marshal(v)
	if err == nil {
		r.mu.Lock()
		_, err = f.Write(append(text, '\n'))
		r.mu.Unlock()
	}
	if err != nil {
		panic(err)
	}
}

// A task is one goroutine, and what it works for.
type task struct {
	*recorder
	cause Ref
	maker string
}

// now is the time of events.
func (t *task) now() time.Duration { return time.Since(t.zero) }

// did records that e was done from at on, for the task's cause.
func (t *task) did(at time.Duration, e model.Event) Ref {
	e.Member, e.TID = member(t.cfg.Role), unix.Gettid()
	if t.cfg.Style == Tasks {
		e.Task, e.Maker = goroutine(), t.maker
	}
	if t.cfg.Style == Hidden && slices.Contains(stacked, e.Kind) {
		e.Stack = stack()
	}
	t.emit(at, e)
	// After the event, so that there is one for each fact when the process is
	// killed.
	t.write(t.truth, Fact{refOf(&e), t.cause})
	return refOf(&e)
}

// emit writes e as a tracer would.
func (t *task) emit(at time.Duration, e model.Event) {
	if t.events != nil {
		// The runtime asks for what is there, waits elsewhere, and asks again.
		if waits := e.Kind == model.EventReceive || e.Kind == model.EventAccept; waits && t.cfg.Style == Hidden {
			at, e.Took = t.now(), 0
		}
		e.At, e.PID, e.Member = at, os.Getpid(), member(t.cfg.Role)
		t.write(t.events, e)
	}
}

// member is the member that a role is of; the client and helpers are none.
func member(role string) string {
	if role == Front || role == Back {
		return role
	}
	return ""
}

// stacked are the kinds of events that have a call stack.
var stacked = []string{model.EventCreate, model.EventWrite, model.EventSend, model.EventConnect}

// stack is the functions that called the one that records an event.
func stack() (names []string) {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if f.Function != "runtime.goexit" {
			names = append(names, f.Function)
		}
		if !more {
			return names
		}
	}
}

func goroutine() string {
	var buf [64]byte
	name, _, _ := strings.Cut(string(buf[:runtime.Stack(buf[:], false)]), " [")
	return name
}

// spawn runs f as another task, which place names. With threads it is a thread,
// whose start is recorded.
func (t *task) spawn(place string, f func(*task)) {
	child := &task{recorder: t.recorder, cause: t.cause, maker: goroutine() + ", " + place}
	if t.cfg.Style == Tasks || t.cfg.Style == Hidden {
		go f(child)
		return
	}
	at := t.now()
	tid, told := make(chan int), make(chan struct{})
	go func() {
		runtime.LockOSThread() // ends with the task
		tid <- unix.Gettid()
		<-told
		f(child)
	}()
	// Go starts threads like these by one that it has for that, so it is no fact.
	t.emit(at, model.Event{Kind: model.EventStart, TID: unix.Gettid(), Child: <-tid})
	close(told)
}

// file creates, writes and perhaps syncs a file called name.
func (t *task) file(name string, size int, sync bool) {
	path := filepath.Join(t.cfg.Dir, name)
	at := t.now()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	check(err)
	t.did(at, model.Event{Kind: model.EventCreate, Object: path})
	at = t.now()
	_, err = f.Write(make([]byte, size))
	check(err)
	t.did(at, model.Event{Kind: model.EventWrite, Object: path, Bytes: int64(size)})
	if sync {
		at = t.now()
		check(f.Sync())
		t.did(at, model.Event{Kind: model.EventSync, Object: path, Took: t.now() - at})
	}
	check(f.Close())
}

// listening tells who started the process that it is ready.
func (t *task) listening() {
	_, err := fmt.Fprintln(os.Stdout, "listening")
	check(err)
}

// log writes a line about itself.
func (t *task) log(line string) {
	at := t.now()
	_, err := fmt.Fprintln(os.Stdout, line)
	check(err)
	t.did(at, model.Event{Kind: model.EventLog, Object: line})
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Main runs a process of the relay if the test binary was executed as one.
func Main() {
	if filepath.Base(os.Args[0]) != Name {
		return
	}
	var cfg Config
	check(json.Unmarshal([]byte(os.Args[1]), &cfg))
	r, err := newRecorder(cfg)
	check(err)
	t := &task{recorder: r}
	if cfg.Style == Threads || cfg.Style == Loop {
		runtime.LockOSThread()
	}
	switch cfg.Role {
	case Front:
		t.front()
	case Back:
		t.back()
	case Client:
		t.cause = OfAction
		t.client()
	case Helper:
		t.cause = cfg.For
		t.file(fmt.Sprintf("helper-%d", os.Getpid()), 9, false)
		t.emit(t.now(), model.Event{Kind: model.EventExit, Object: "0"})
	}
	os.Exit(0)
}
