package causal

import (
	"cmp"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// near is how long after a task took something up another task of the process
// may begin with its part of it. Handing over takes microseconds, and a traced
// process some times that; queues take longer.
const near = 50 * time.Millisecond

// pause is how long a task does nothing when it has ended one piece of work. A
// traced system call takes some tens of microseconds.
const pause = 2 * time.Millisecond

// A carrierKey names what goes from one thing to the next: a task, or a thread
// where tasks are not known.
type carrierKey struct {
	pid, tid int
	task     string
}

func keyOf(e *model.Event) carrierKey {
	if e.Task != "" {
		return carrierKey{pid: e.PID, task: e.Task}
	}
	return carrierKey{pid: e.PID, tid: e.TID}
}

// A served is what is known of a carrier from all of its events.
type served struct {
	conn string
	many bool // it takes requests from several connections: an event loop
}

// roaming finds the processes whose threads run tasks that are not known, as Go's
// do: one thread after another reads requests from the same connection. Threads
// that share connections on which they ask do not roam.
func roaming(w *model.World, s sides) map[int]bool {
	last, reads, moves := map[end]int{}, map[int]int{}, map[int]int{}
	for i := range w.Events {
		e := &w.Events[i]
		if e.Kind != model.EventReceive || e.Conn == "" || e.Task != "" || e.Bytes == 0 {
			continue
		}
		if client, known := s.client(e); known && client {
			continue
		}
		at := end{e.Conn, e.PID}
		reads[e.PID]++
		if was, seen := last[at]; e.TID == 0 || seen && was != e.TID {
			moves[e.PID]++
		}
		last[at] = e.TID
	}
	out := map[int]bool{}
	for pid, n := range moves {
		out[pid] = n > 2 && n*10 > reads[pid]
	}
	return out
}

func servedBy(w *model.World, s sides) map[carrierKey]*served {
	all := map[carrierKey]*served{}
	for i := range w.Events {
		e := &w.Events[i]
		if e.Kind != model.EventReceive || e.Conn == "" {
			continue
		}
		if client, known := s.client(e); known && client {
			continue // answers
		}
		k := keyOf(e)
		switch sv := all[k]; {
		case sv == nil:
			all[k] = &served{conn: e.Conn}
		case sv.conn != e.Conn:
			sv.many = true
		}
	}
	return all
}

// A state is what a carrier is at.
type state struct {
	cur link
	// own is set when the carrier itself took cur up, or was made for it. Its
	// events then come of nothing else, until it has answered and paused.
	own      bool
	answered bool
	usual    bool // the other world takes up as many of these
}

// A carrier is a task or a thread.
type carrier struct {
	state
	base link // what it comes of when it is at nothing
	many bool
	// last is when it had done its latest event.
	last time.Duration
	seen bool
	// entry is the function that the task on the thread began with.
	entry string
	// hired is a thread that was started for a request. Its first work is what it
	// was started for; fresh is set before that, even if it sleeps.
	hired, fresh bool
	// reading is the connection that its latest event read a request from, and
	// asker what the request was sent in.
	reading string
	asker   int
	// taken are the requests that it read, and made the nodes of tasks that it
	// started, by place.
	taken []int
	made  map[string][]int
	// guessed are nodes since its pause that it may have got from any task.
	guessed []int
}

// carrier returns that of event i.
func (b *builder) carrier(p *process, i int) *carrier {
	k := keyOf(&b.w.Events[i])
	if k.task != "" {
		p.tasks = true
	}
	c := b.carriers[k]
	if c == nil {
		c = &carrier{base: p.base()}
		c.cur = c.base
		c.many = b.many(k)
		b.carriers[k] = c
		b.made(c, i)
	}
	return c
}

// many reports whether what k does may be work on several requests by turns.
func (b *builder) many(k carrierKey) bool {
	sv := b.serving[k]
	return sv != nil && sv.many || b.roaming[k.pid] && k.task == ""
}

// base is what the tasks of p come of that are at nothing else. All that a process
// does that was started in the world comes of its start; a phantom had its own
// work before.
func (p *process) base() link {
	l := link{p.node, SameTask, Likely}
	if p.born {
		l.conf = Certain
	}
	return l
}

// A recency is the latest two activities of different carriers.
type recency [2]activity

func (r *recency) note(a activity) {
	if r[0].by != a.by {
		r[1] = r[0]
	}
	r[0] = a
}

// other is the latest activity of another than c, if it is later than node after
// and c may have begun at time at because of it.
func (r *recency) other(c *carrier, after int, at time.Duration) (node int, ok bool) {
	for _, a := range r {
		if a.by != nil && a.by != c {
			return a.node, a.node > after && at-a.at <= near
		}
	}
	return none, false
}

// note records that c is at its cur.
func (p *process) note(c *carrier, at time.Duration) {
	a := activity{c.cur.node, c, at}
	p.recent.note(a)
	if !c.usual {
		p.rare.note(a)
	}
}

// context is what event i of c comes of, when nothing else tells.
func (b *builder) context(p *process, c *carrier, i int) link {
	e := &b.w.Events[i]
	idle := !c.fresh && (!c.seen || e.At-c.last > c.patience())
	usual := b.usual[i]
	if b.roaming[p.pid] && e.Task == "" && (idle || c.strange(e)) {
		// Another task runs on the thread now.
		c.guessed = c.guessed[:0]
		c.state = state{cur: p.base()}
		idle = true
	}
	c.entry = cmp.Or(entry(e), c.entry)
	if c.own && (!c.answered || !idle) {
		if usual && c.cur.conf != Certain {
			return c.base // a timer of the event loop
		}
		return c.cur
	}
	if usual && (idle || c.cur.conf != Certain) {
		return c.base
	}
	if idle && !c.own {
		c.guessed = c.guessed[:0]
		b.wake(p, c, e)
	}
	l := c.cur
	if c.own && idle {
		l.conf = Likely // after the answer, and a pause
	}
	return l
}

// patience is how long c may do nothing and go on with the same.
func (c *carrier) patience() time.Duration {
	if c.hired && c.cur.cause == Started {
		return near
	}
	return pause
}

// entry is the function that the task of e began with, if its stack is known.
func entry(e *model.Event) string {
	if len(e.Stack) < 2 {
		return ""
	}
	return e.Stack[len(e.Stack)-1]
}

// strange reports whether e is by another task than the events before it on the
// same thread.
func (c *carrier) strange(e *model.Event) bool {
	began := entry(e)
	return began != "" && c.entry != "" && began != c.entry
}

// open is the request of p that waits for an answer, if it is the only one.
func (p *process) open(at time.Duration) int {
	found := none
	for conn, r := range p.waiting {
		if at-r.at > near {
			delete(p.waiting, conn) // so that few are looked at
		}
		if r.usual || at-r.at > near {
			continue
		}
		if found != none {
			return none
		}
		found = r.node
	}
	return found
}

// wake looks for what c may have been woken by.
func (b *builder) wake(p *process, c *carrier, e *model.Event) {
	if b.roaming[p.pid] && e.Task == "" {
		if r := p.open(e.At); r != none {
			c.state = state{cur: link{r, Time, Likely}}
			return
		}
	}
	if c.cur.cause == Time {
		c.cur = c.base
	}
	// What the other world does not do comes of what it does not do either, if
	// there is such a thing.
	n, ok := p.rare.other(c, c.cur.node, e.At)
	if !ok {
		n, ok = p.recent.other(c, c.cur.node, e.At)
	}
	if ok {
		c.state = state{cur: link{n, Time, Likely}}
	}
}

// claim gives r, which c turns out to work on, what c did since its pause.
func (b *builder) claim(c *carrier, r int) {
	for _, n := range c.guessed {
		if r < n {
			b.move(n, link{r, SameTask, Likely})
		}
	}
	c.guessed = c.guessed[:0]
	c.state = state{cur: link{r, SameTask, Likely}}
}
