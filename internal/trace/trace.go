//go:build linux

// Package trace tells what the processes of worlds do: which processes they
// start, which files they change, what goes over their connections. It looks by
// programs that the kernel runs at its tracepoints. These read the arguments and
// results of calls, change nothing, hold nothing up, and forget at once whatever
// is not in a world. docs/design/trace.md says why it is done so, and what it costs.
//
// What is merged is merged in the kernel, so that a busy world costs little. The
// rest comes by a ring, which one goroutine empties.
package trace

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"github.com/pilotexec/pilot/internal/bpf"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/unwind"
)

// A Level says how much is told.
type Level int

const (
	Effects Level = iota + 1 // what outlives an instruction, merged
	Full                     // also every send and receive, long waits, and stacks
)

// mostEvents bounds what is kept of one world.
const mostEvents = 200_000

// look is how often the ring is looked at.
const look = 20 * time.Millisecond

// A Tracer watches the worlds of one run.
type Tracer struct {
	level    Level
	maps     *maps
	programs []*bpf.Program
	reader   *ringbuf.Reader
	names    unwind.Names
	wg       sync.WaitGroup

	mu      sync.Mutex // guards what follows
	worlds  map[uint32]*Recording
	emptied chan struct{} // closed when the ring was found empty next
	err     error         // why the ring is not read any more
}

// Open hands the programs to the kernel, which takes a while. They do not run
// before [Tracer.Attach]. The caller closes the tracer.
func Open(level Level) (t *Tracer, err error) {
	l, err := readLayout()
	if err != nil {
		return nil, err
	}
	t = &Tracer{level: level, worlds: map[uint32]*Recording{}, emptied: make(chan struct{})}
	if t.maps, err = newMaps(level); err != nil {
		return nil, err
	}
	if t.reader, err = ringbuf.NewReader(t.maps.ring); err != nil {
		t.maps.close()
		return nil, err
	}
	own, err := procfs.Namespace(os.Getpid(), "pid")
	if err == nil {
		err = t.maps.spaces.Put(uint32(own), uint32(agentSpace))
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if t.programs, err = load(l, t.maps, level); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.wg.Go(t.empty)
	return t, nil
}

// Attach has the kernel run the programs. Nothing is told until a world is watched.
func (t *Tracer) Attach() error {
	for _, p := range t.programs {
		if err := p.Attach(); err != nil {
			return err
		}
	}
	return nil
}

// Close stops all watching.
func (t *Tracer) Close() error {
	err := errors.Join(bpf.CloseAll(t.programs), t.reader.Close())
	t.wg.Wait()
	t.maps.close()
	return err
}

// empty takes records from the ring until the tracer is closed.
func (t *Tracer) empty() {
	var r ringbuf.Record
	for {
		t.reader.SetDeadline(time.Now().Add(look))
		for {
			err := t.reader.ReadInto(&r)
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
				t.found(nil)
				break
			}
			if err != nil {
				t.found(err)
				return
			}
			t.dispatch(r.RawSample)
		}
	}
}

// found wakes who waits for the ring to be empty.
func (t *Tracer) found(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	close(t.emptied)
	t.emptied = make(chan struct{})
}

func (t *Tracer) dispatch(b []byte) {
	r, ok := decode(b)
	if !ok {
		return
	}
	t.mu.Lock()
	w := t.worlds[r.world]
	t.mu.Unlock()
	if w != nil {
		w.mu.Lock()
		w.record(&r)
		w.mu.Unlock()
	}
}

// drain returns when all records that were in the ring have been taken.
func (t *Tracer) drain() error {
	for range 2 { // the first may have been under way
		t.mu.Lock()
		emptied, err := t.emptied, t.err
		t.mu.Unlock()
		if err != nil {
			return err
		}
		_ = t.reader.Flush()
		<-emptied
	}
	return nil
}

// lost is how many records found no room so far, in all worlds, and how many
// runs of programs there were not, anywhere on the host.
func (t *Tracer) lost() (n uint64) {
	if err := t.maps.lost.Lookup(uint32(0), &n); err != nil {
		return 0
	}
	for _, p := range t.programs {
		n += p.Missed()
	}
	return n
}

// A Phantom is a process that is there when a world is released.
type Phantom struct {
	HostPID int    // in the agent's pid namespace
	PID     int    // as events are to call it
	Member  string // whose it is
}

// A World says what is to be watched.
type World struct {
	Init     int // its first process, in the agent's pid namespace
	Phantoms []Phantom
	// MemberOf tells which member is started by a command line, or is nil.
	MemberOf func(args []string) string
	// Launcher is the first argument of what becomes a command only later.
	Launcher string
	// Outputs is the directory of what the phantoms and commands print.
	Outputs string
}

// Watch readies the recording of what happens in a
// world whose processes do not run yet.
func (t *Tracer) Watch(w World) (*Recording, error) {
	spaces, err := procfs.Namespaces(w.Init)
	if err != nil {
		return nil, err
	}
	r := newRecording(t, w)
	pids, nets := map[uint64]bool{spaces["pid"]: true}, map[uint64]bool{spaces["net"]: true}
	for _, ph := range w.Phantoms {
		if space, err := procfs.Namespace(ph.HostPID, "net"); err == nil {
			nets[space] = true
		}
		// That of a container's members is none below the init's.
		if space, err := procfs.Namespace(ph.HostPID, "pid"); err == nil {
			pids[space] = true
		}
	}
	if err := r.look(); err != nil {
		return nil, fmt.Errorf("sockets and files of the world: %w", err)
	}
	t.mu.Lock()
	r.id = uint32(len(t.worlds) + 1)
	t.worlds[r.id] = r
	t.mu.Unlock()
	r.lostBefore = t.lost()
	for space := range nets {
		r.nets = append(r.nets, uint32(space))
	}
	for space := range pids {
		r.spaces = append(r.spaces, uint32(space))
	}
	return r, nil
}

// Begin is called just before the world is released, and Released after it: in
// between, what is recorded has to wait for the time from which events count.
func (r *Recording) Begin() error {
	r.mu.Lock()
	for _, n := range r.nets {
		if err := r.t.maps.nets.Put(n, r.id); err != nil {
			return err
		}
	}
	for _, n := range r.spaces {
		if err := r.t.maps.spaces.Put(n, r.id); err != nil {
			return err
		}
	}
	return nil
}

// A Recording is what happens in one world.
type Recording struct {
	t          *Tracer
	w          World
	id         uint32
	spaces     []uint32 // of pids
	nets       []uint32
	lostBefore uint64

	mu     sync.Mutex    // guards what follows
	opened time.Duration // on the monotonic clock
	happenings
}

// Released says when the world was released. Events count from then.
func (r *Recording) Released(at time.Time) {
	monotonic, _ := sys.Clocks()
	r.opened = monotonic - time.Since(at)
	r.mu.Unlock() // Begin has locked it
}

// Finish ends the recording and returns the events in the order of their times.
// The world's processes should still be there: names of functions are looked for
// in their memory. incomplete says what is missing.
func (r *Recording) Finish() (events []model.Event, incomplete []string) {
	var err error
	for _, n := range r.spaces {
		err = errors.Join(err, r.t.maps.spaces.Delete(n))
	}
	for _, n := range r.nets {
		err = errors.Join(err, r.t.maps.nets.Delete(n))
	}
	err = errors.Join(err, r.t.drain())
	r.mu.Lock()
	defer r.mu.Unlock()
	err = errors.Join(err, r.rest())
	if err != nil {
		incomplete = append(incomplete, fmt.Sprintf("%v", err))
	}
	if n := r.t.lost() - r.lostBefore; n > 0 {
		incomplete = append(incomplete, fmt.Sprintf("up to %d were lost in all worlds together, there were too many at a time", n))
	}
	if r.dropped > 0 {
		incomplete = append(incomplete, fmt.Sprintf("%d are not kept, there were more than %d; the first of them was %v after the release",
			r.dropped, mostEvents, r.droppedAt.Round(time.Millisecond)))
	}
	r.nameAgain()
	return r.sorted(), incomplete
}
