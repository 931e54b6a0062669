//go:build linux

package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/unwind"
	"golang.org/x/sys/unix"
)

// happenings is what is known of a world's events so far.
type happenings struct {
	events    []model.Event
	dropped   int
	droppedAt time.Duration

	pids    map[int]int       // what events call a process, by its number in the world
	members map[int]string    // by what events call it
	alive   map[int]bool      // processes that are not pilot's own, by the agent's number
	cwds    map[int]string    // by the number in the agent's namespace
	paths   map[uint64]string // by the address of an inode
	writes  map[write]int     // places in events
	counted map[counted]int   // likewise
	calls   map[int]int       // writes that are told as one event, by its place
	// Of connects, by socket: the place of what is told and has no stack yet, and
	// the stack of what is not told yet.
	connects map[uint64]int
	callers  map[uint64][]string
	told     map[uint64]int64  // the error of a connect that is told, by socket
	ended    map[uint64]string // names of connections, by socket
	programs map[fileID]unwind.Goroutines
	clients  map[pair]bool         // connections, the end that connected first in front
	stacks   map[stackKey][]string // names are found once
	maps     map[int][]procfs.VMA  // of processes with stacks
}

type (
	write struct {
		pid  int
		path string
	}
	counted struct {
		inode uint64
		pid   uint32 // the number in the world
	}
	fileID   struct{ dev, ino uint64 }
	pair     struct{ client, server netip.AddrPort }
	stackKey struct {
		hostPID int
		stack   string
	}
)

func newRecording(t *Tracer, w World) *Recording {
	r := &Recording{t: t, w: w, happenings: happenings{
		pids: map[int]int{}, members: map[int]string{}, cwds: map[int]string{}, paths: map[uint64]string{},
		writes: map[write]int{}, counted: map[counted]int{}, calls: map[int]int{}, connects: map[uint64]int{}, callers: map[uint64][]string{}, told: map[uint64]int64{}, programs: map[fileID]unwind.Goroutines{}, ended: map[uint64]string{}, alive: map[int]bool{}, clients: map[pair]bool{},
		stacks: map[stackKey][]string{}, maps: map[int][]procfs.VMA{},
	}}
	return r
}

// pid is what events call the process with a number in the world.
func (r *Recording) pid(number int) int {
	if pid, ok := r.pids[number]; ok {
		return pid
	}
	return number
}

// event begins the event of a record.
func (r *Recording) event(rec *record, kind string) model.Event {
	e := model.Event{Kind: kind, At: r.since(rec.at - uint64(rec.took)), TID: rec.tid, PID: r.pid(rec.pid)}
	e.Member = r.members[e.PID]
	if rec.task != 0 {
		e.Task = fmt.Sprintf("goroutine %d", rec.task)
		e.Maker = r.maker(rec)
	}
	if rec.ret < 0 {
		e.Error = unix.ErrnoName(unix.Errno(-rec.ret))
	}
	return e
}

// since is a time of the monotonic clock, counted from the release.
func (r *Recording) since(at uint64) time.Duration { return max(0, time.Duration(at)-r.opened) }

// add keeps an event, if there is room, and returns its place, or -1.
func (r *Recording) add(e model.Event) int {
	if len(r.events) == mostEvents {
		if r.dropped == 0 {
			r.droppedAt = e.At
		}
		r.dropped++
		return -1
	}
	r.events = append(r.events, e)
	return len(r.events) - 1
}

// record turns a record into events.
func (r *Recording) record(rec *record) {
	// The init, and what it starts until that is the command, are pilot's. They
	// have no connections.
	if !r.alive[rec.hostPID] && rec.kind != recStream && (rec.hostPID == r.w.Init || rec.kind != recExec) {
		return
	}
	switch rec.kind {
	case recCall:
		r.call(rec)
	case recStream:
		r.stream(rec)
	case recState:
		r.state(rec)
	case recFork:
		r.forked(rec)
	case recExec:
		r.executed(rec)
	case recExit:
		r.exited(rec)
	case recSignal:
		r.signalled(rec)
	}
}

func (r *Recording) forked(rec *record) {
	e := r.event(rec, model.EventStart)
	child := int(rec.other)
	if int(rec.nr) == child { // a process
		// Whatever was known by the number is over: nothing is counted under it.
		delete(r.pids, child)
		r.members[child] = e.Member
		hostPID := int(rec.args[0])
		delete(r.maps, hostPID)
		r.alive[hostPID] = true
		if cwd := r.cwd(rec.hostPID); cwd != "" {
			r.cwds[hostPID] = cwd
		}
	}
	e.Child = child
	r.add(e)
}

func (r *Recording) executed(rec *record) {
	delete(r.maps, rec.hostPID)
	text := string(rec.text[:min(uint64(len(rec.text)), uint64(rec.bytes))])
	args := strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
	if r.alive[rec.hostPID] = args[0] != r.w.Launcher; !r.alive[rec.hostPID] {
		return
	}
	for i := range args {
		args[i] = strings.ToValidUTF8(args[i], "?")
	}
	pid := r.pid(rec.pid)
	if r.w.MemberOf != nil {
		if member := r.w.MemberOf(args); member != "" {
			r.members[pid] = member
		}
	}
	r.goroutines(rec.hostPID)
	if cwd, err := procfs.Cwd(rec.hostPID); err == nil {
		r.cwds[rec.hostPID] = cwd
	}
	e := r.event(rec, model.EventExec)
	e.Object = strings.Join(args, " ")
	r.add(e)
}

func (r *Recording) exited(rec *record) {
	e := r.event(rec, model.EventExit)
	e.TID, e.Error = 0, ""
	status := unix.WaitStatus(uint32(rec.ret))
	e.Object = strconv.Itoa(status.ExitStatus())
	if status.Signaled() {
		e.Object = unix.SignalName(status.Signal())
	}
	r.add(e)
	delete(r.alive, rec.hostPID)
}

func (r *Recording) signalled(rec *record) {
	sig := unix.Signal(rec.nr)
	if sig == unix.SIGKILL && unix.WaitStatus(uint32(rec.ret)).Signal() != unix.SIGKILL {
		return // so a process that exits ends its threads
	}
	rec.ret = 0
	e := r.event(rec, model.EventSignal)
	e.Object = unix.SignalName(sig)
	if sig == unix.SIGKILL {
		e.TID = 0 // each thread is told of it
		if i := len(r.events) - 1; i >= 0 && r.events[i].Kind == e.Kind && r.events[i].PID == e.PID && r.events[i].Object == e.Object {
			return
		}
	}
	r.add(e)
}

// call turns the return of a system call into an event.
func (r *Recording) call(rec *record) {
	switch what := interesting[rec.nr]; {
	case rec.nr == unix.SYS_FUTEX:
		rec.ret = max(rec.ret, 0)
		e := r.event(rec, model.EventWait)
		e.Took = time.Duration(rec.took)
		e.Stack = r.stack(rec)
		r.add(e)
	case what&callClass == callOpen:
		r.open(rec)
	case what&callClass == callSend, what&callClass == callRecv:
		r.bytes(rec, what&callClass == callRecv)
	case rec.nr == unix.SYS_CONNECT:
		r.connected(rec)
	case rec.nr == unix.SYS_LISTEN:
		if e := r.event(rec, model.EventListen); r.inet(rec) {
			e.Object = "tcp " + rec.local.String()
			r.add(e)
		}
	case rec.nr == unix.SYS_ACCEPT, rec.nr == unix.SYS_ACCEPT4:
		if r.inet(rec) {
			r.clients[pair{rec.remote, rec.local}] = true
			e := r.event(rec, model.EventAccept)
			e.Object, e.Conn = "tcp "+rec.remote.String(), r.conn(rec)
			r.add(e)
		}
	default:
		r.file(rec, what)
	}
}

func (r *Recording) inet(rec *record) bool {
	return (rec.family == familyIP4 || rec.family == familyIP6) && (rec.protocol == unix.IPPROTO_TCP || rec.protocol == unix.IPPROTO_MPTCP)
}

// sorted puts the events into the order of their times.
func (r *Recording) sorted() []model.Event {
	slices.SortStableFunc(r.events, func(a, b model.Event) int { return cmp.Compare(a.At, b.At) })
	return r.events
}

// cwd is the directory of a process, or the last that was known.
func (r *Recording) cwd(hostPID int) string {
	if cwd, err := procfs.Cwd(hostPID); err == nil {
		r.cwds[hostPID] = cwd
	}
	return r.cwds[hostPID]
}

// resolve makes a path of a call absolute.
func (r *Recording) resolve(rec *record, path string, dirfd int32) string {
	path = strings.ToValidUTF8(path, "?")
	if filepath.IsAbs(path) || path == "" {
		return path
	}
	dir := ""
	if dirfd == unix.AT_FDCWD {
		dir = r.cwd(rec.hostPID)
	} else if link, err := procfs.FDLink(rec.hostPID, int(dirfd)); err == nil && filepath.IsAbs(link) {
		dir = link
	}
	if dir == "" {
		return path
	}
	return filepath.Join(dir, path)
}

// fdPath is what a descriptor of a process leads to, or empty.
func (r *Recording) fdPath(hostPID, fd int) string {
	link, err := procfs.FDLink(hostPID, fd)
	if err != nil || !filepath.IsAbs(link) {
		return ""
	}
	link = strings.TrimSuffix(link, " (deleted)")
	if r.w.Outputs != "" && strings.HasPrefix(link, r.w.Outputs+string(os.PathSeparator)) {
		return Output
	}
	return link
}

// isOutput tells whether an inode number is of a file with outputs: its writer
// may be gone before it can be asked.
func (r *Recording) isOutput(ino uint64) bool {
	files, _ := os.ReadDir(r.w.Outputs)
	for _, f := range files {
		if fi, err := sys.Stat(filepath.Join(r.w.Outputs, f.Name())); err == nil && fi.Ino == ino {
			return true
		}
	}
	return false
}

// Output is the object of what is written to the terminal of a process.
const Output = "output"
