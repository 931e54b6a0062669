package causal

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// add makes the node of event i.
func (b *builder) add(i int) {
	e := &b.w.Events[i]
	p := b.process(e.PID)
	c := b.carrier(p, i)
	var n int
	switch e.Kind {
	case model.EventReceive:
		n = b.receive(p, c, i)
	case model.EventAccept:
		n = b.accept(p, c, i)
	case model.EventSend:
		n = b.send(p, c, i)
	case model.EventSignal:
		n = b.signal(p, c, i)
	case model.EventExit:
		n = b.exit(p, c, i)
	default:
		from := b.context(p, c, i)
		n = b.node(e, from)
		b.guess(c, n, i)
	}
	b.nodeOf[i] = n
	switch e.Kind {
	case model.EventStart:
		b.start(p, c, e, n)
	case model.EventConnect:
		b.connects[e.Conn] = n
	case model.EventClose:
		b.closes[end{e.Conn, e.PID}] = n
	}
	if e.Kind != model.EventReceive {
		c.reading = ""
	}
	if up := b.parent(n); up != none {
		p.last.node = up
	}
	c.seen, c.fresh, c.last = true, false, max(c.last, e.At+e.Took)
	if c.own && !c.answered {
		at := b.streams.done[i]
		if merged(e) {
			at += e.Took // and all the time since then
		}
		p.note(c, at)
	}
}

// guess remembers a node that c did not get by itself.
func (b *builder) guess(c *carrier, n, i int) {
	if !c.own && !b.usual[i] {
		c.guessed = append(c.guessed, n)
	}
}

// receive is caused by the send of the bytes. What follows on the carrier comes
// of it, but for answers: after these it goes on with what it had asked in.
func (b *builder) receive(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	first, source := b.streams.source(i)
	if source < 0 || b.nodeOf[source] == none {
		return b.receiveUnknown(p, c, i)
	}
	from := b.nodeOf[source]
	conf := Certain
	if first != source && (first < 0 || b.nodeOf[first] == none || b.parent(b.nodeOf[first]) != b.parent(from)) {
		conf = Likely // bytes of several requests at once
	}
	if merged(e) || merged(b.nodes[from].Event) {
		conf = Likely
	}
	n := b.node(e, link{from, Message, conf})
	if ask := b.ask(from, e); ask != none {
		was := b.asked[ask]
		c.state = was
		c.guessed, c.entry = c.guessed[:0], ""
		return n
	}
	if c.reading == e.Conn && c.own && !c.answered && c.asker == b.parent(from) {
		return n // the rest of the same request
	}
	b.take(c, n, i)
	c.usual = c.usual || b.usual[source]
	c.taken = append(c.taken, n)
	c.reading, c.asker = e.Conn, b.parent(from)
	at := end{e.Conn, e.PID}
	r := request{n, c, b.streams.done[i], c.usual}
	b.pending[at] = r
	if p.waiting == nil {
		p.waiting = map[string]request{}
	}
	p.waiting[e.Conn] = r
	return n
}

// take makes node n, which is event i, what c is at.
func (b *builder) take(c *carrier, n, i int) {
	conf := Certain
	if c.many || merged(&b.w.Events[i]) {
		conf = Likely // timers run on the same thread, or there are several requests
	}
	c.state = state{cur: link{n, SameTask, conf}, own: true, usual: b.usual[i]}
	c.guessed, c.entry = c.guessed[:0], ""
}

// receiveUnknown is of bytes whose send was not seen, and of ends of
// connections. Bytes that were on their way at the snapshot are nobody's.
func (b *builder) receiveUnknown(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	if e.Bytes == 0 {
		if from := b.closed(e); from != none {
			n := b.node(e, link{from, Message, Certain})
			if b.asks(c, from) {
				return n
			}
			b.take(c, n, i)
			return n
		}
		return b.node(e, b.context(p, c, i))
	}
	if b.infos[e.PID] == nil || !b.infos[e.PID].Phantom {
		return b.node(e, c.cur)
	}
	n := b.node(e, link{p.node, SameTask, Likely})
	b.take(c, n, i)
	return n
}

// asks reports whether c is at what node n came of: a client whose server closes
// goes on with what it was at.
func (b *builder) asks(c *carrier, n int) bool {
	for range maxAnswer {
		if n == c.cur.node {
			return true
		}
		if n = b.parent(n); n == none {
			return false
		}
	}
	return false
}

// closed finds the end of the other end of e's connection.
func (b *builder) closed(e *model.Event) int {
	var found = none
	for _, pid := range b.streams.sides.peers(e) {
		if n, ok := b.closes[end{e.Conn, pid}]; ok {
			found = max(found, n)
		}
		if p := b.procs[pid]; p != nil && p.exit != none {
			found = max(found, p.exit)
		}
	}
	return found
}

// maxAnswer bounds through how many nodes an answer is followed to its question.
const maxAnswer = 256

// ask finds the send of e's process over the same connection that the bytes
// sent by node from are the answer to.
func (b *builder) ask(from int, e *model.Event) int {
	n := from
	for range maxAnswer {
		if n = b.parent(n); n == none {
			return none
		}
		if q := &b.nodes[n]; q.Kind == model.EventSend && q.PID == e.PID && q.Conn == e.Conn {
			return n
		}
	}
	return none
}

// send answers the request over its connection, if one is open. It may do so
// for another task than that which read the request.
func (b *builder) send(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	at := end{e.Conn, e.PID}
	var from link
	if r, open := b.pending[at]; open {
		delete(b.pending, at)
		delete(p.waiting, e.Conn)
		if c.own && c.cur.node == r.node {
			from = c.cur
			from.conf = Certain
		} else {
			from = link{r.node, SameTask, Likely}
			if !c.own || c.many && c != r.by {
				b.claim(c, r.node)
			} else {
				c.cur = from
			}
		}
		if r.by.cur.node == r.node {
			r.by.answered = true
		}
	} else {
		from = b.context(p, c, i)
	}
	n := b.node(e, from)
	b.guess(c, n, i)
	b.asked[n] = c.state
	return n
}

// accept is caused by the connect of the other end.
func (b *builder) accept(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	from := link{p.node, SameTask, Likely}
	if n, ok := b.connects[e.Conn]; ok && e.Conn != "" {
		from = link{n, Message, Certain}
	}
	n := b.node(e, from)
	b.take(c, n, i)
	return n
}

// start makes the child's events come of node n.
func (b *builder) start(p *process, by *carrier, e *model.Event, n int) {
	if e.Child == 0 {
		return
	}
	l := link{n, Started, Certain}
	pid := e.PID
	if b.isProcess[e.Child] {
		if b.procs[e.Child] == nil {
			child := &process{pid: e.Child, info: b.infos[e.Child], parent: e.PID, exit: none}
			b.procs[e.Child] = child
			b.begin(child, n)
		}
		pid = e.Child
	} else if p.tasks {
		return // threads of a runtime run any task
	}
	k := carrierKey{pid: pid, tid: e.Child}
	c := &carrier{base: l, state: state{cur: l}, seen: true, last: e.At + e.Took, hired: by.own, fresh: by.own}
	c.many = b.many(k)
	b.carriers[k] = c // the number may have been that of a thread that ended
}

// faults are signals that a thread brings upon itself.
var faults = []string{"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGPIPE", "SIGSYS", "SIGTRAP", "SIGALRM", "SIGURG"}

// signal is caused by who sent it, as far as that can be found out.
func (b *builder) signal(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	from := link{p.node, SameTask, Likely}
	switch {
	case slices.Contains(faults, e.Object):
		from = b.context(p, c, i)
	case e.Object == "SIGCHLD":
		if n, ok := b.childExits[e.PID]; ok {
			from = link{n, Signal, Certain}
		}
	default:
		if l, ok := b.killer(e); ok {
			from = l
		}
	}
	n := b.node(e, from)
	if p.signals == nil {
		p.signals = map[string]int{}
	}
	p.signals[e.Object] = n
	if from.cause == Signal && e.Object != "SIGCHLD" && (e.Task == "" || !c.own) {
		// Its handler may run here, or wake a task. The end of a child is an answer:
		// who started it goes on with what it was at.
		c.state = state{cur: link{n, SameTask, Likely}, own: true, answered: true}
		p.note(c, b.streams.done[i])
	}
	return n
}

// exit is caused by a signal, or by what the process did last.
func (b *builder) exit(p *process, c *carrier, i int) int {
	e := &b.w.Events[i]
	from := p.last
	if p.born {
		from = p.base()
	}
	if e.TID != 0 && c.seen {
		from = b.context(p, c, i)
	}
	if n, ok := p.signals[e.Object]; ok {
		from = link{n, Signal, Certain}
	} else if l, ok := b.killer(e); ok && strings.HasPrefix(e.Object, "SIG") {
		from = l
	}
	n := b.node(e, from)
	if e.TID == 0 || e.TID == e.PID {
		p.exit = n
		if p.parent != 0 {
			b.childExits[p.parent] = n
		}
	}
	return n
}

// killer finds a process that was told to send a signal to that of e: the
// latest command with "kill" and the pid, or the name, among its arguments.
func (b *builder) killer(e *model.Event) (link, bool) {
	target := b.infos[e.PID]
	if target == nil {
		return link{}, false
	}
	names := []string{strconv.Itoa(target.PID), b.name(e.PID)}
	if target.Number != 0 {
		names = append(names, strconv.Itoa(target.Number))
	}
	var found *model.Process
	for _, k := range b.killers {
		late := k.Started > e.At || found != nil && k.Started < found.Started
		if !late && k.PID != e.PID && slices.ContainsFunc(names, func(n string) bool { return slices.Contains(k.words, n) }) {
			found = k.Process
		}
	}
	if found == nil {
		return link{}, false
	}
	return link{b.process(found.PID).node, Signal, Likely}, true
}

// A killCommand is a process that was told to send signals, to whom its words
// name.
type killCommand struct {
	*model.Process
	words []string
}

// killCommands finds them. A shell may have the command inside an argument.
func killCommands(w *model.World) (list []killCommand) {
	for i := range w.Processes {
		p := &w.Processes[i]
		if p.Phantom {
			continue
		}
		words := strings.FieldsFunc(strings.Join(p.Args, " "), func(r rune) bool { return strings.ContainsRune(" ;&|\"'\n", r) })
		at := slices.IndexFunc(words, func(w string) bool {
			return slices.Contains([]string{"kill", "pkill", "killall"}, path.Base(w))
		})
		if at >= 0 {
			list = append(list, killCommand{p, words[at+1:]})
		}
	}
	return list
}
