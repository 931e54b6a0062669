package causal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A stream is the bytes that go one way over a connection.
type stream struct {
	conn     string
	toServer bool // from the end that connected
}

// streams knows where bytes come from, and in which order events are to be
// looked at.
type streams struct {
	events []model.Event
	sides  sides
	// sends are indices of events, sorted by Offset.
	sends map[stream][]int
	// done is when the effect of each event was there.
	done  []time.Duration
	order []int
}

func newStreams(w *model.World) *streams {
	s := &streams{events: w.Events, sides: sidesOf(w), sends: map[stream][]int{}, done: make([]time.Duration, len(w.Events))}
	for i := range w.Events {
		e := &w.Events[i]
		s.done[i] = done(e)
		if e.Kind == model.EventSend && e.Bytes > 0 {
			if st, ok := s.of(e); ok {
				s.sends[st] = append(s.sends[st], i)
			}
		}
	}
	for _, list := range s.sends {
		slices.SortStableFunc(list, func(i, j int) int { return cmp.Compare(s.events[i].Offset, s.events[j].Offset) })
	}
	// Two clocks readings on two processors may be some microseconds apart, and
	// an event is stamped when its tracer gets to it. Twice, so that what follows
	// from a receipt that was moved moves too.
	for range 2 {
		s.sendsFirst()
		s.threadsInOrder()
	}
	s.order = make([]int, len(w.Events))
	for i := range s.order {
		s.order[i] = i
	}
	slices.SortStableFunc(s.order, func(i, j int) int { return cmp.Compare(s.done[i], s.done[j]) })
	return s
}

// merged reports whether e stands for several calls, the first of which was done
// at once and the others until it was over.
func merged(e *model.Event) bool { return e.Count > 1 }

// done is when the effect of e was there. A receipt and whatever else is waited
// for counts from its end; the others may be noticed elsewhere from their begin.
func done(e *model.Event) time.Duration {
	if merged(e) {
		return e.At
	}
	switch e.Kind {
	case model.EventReceive, model.EventAccept, model.EventWait:
		return e.At + e.Took
	}
	return e.At
}

// sendsFirst moves receipts behind the sends that they read.
func (s *streams) sendsFirst() {
	for i := range s.events {
		if s.events[i].Kind != model.EventReceive {
			continue
		}
		if _, from := s.source(i); from >= 0 && s.done[from] >= s.done[i] {
			s.done[i] = s.done[from] + 1
		}
	}
}

// threadsInOrder keeps what a task, or a thread, did in the order in which it
// began it.
func (s *streams) threadsInOrder() {
	last := map[carrierKey]time.Duration{}
	for i := range s.events {
		e := &s.events[i]
		k := keyOf(e)
		if k.tid == 0 && k.task == "" {
			continue
		}
		s.done[i] = max(s.done[i], last[k])
		last[k] = s.done[i]
	}
}

// of returns the stream that a send or a receipt is of.
func (s *streams) of(e *model.Event) (stream, bool) {
	client, known := s.sides.client(e)
	if !known {
		return stream{}, false
	}
	return stream{e.Conn, client == (e.Kind == model.EventSend)}, true
}

// source returns the first of the sends whose bytes event i read, and the one
// that it is told to come of: the last, which made the message whole, but the
// first for a receipt that is merged. -1 stands for none.
func (s *streams) source(i int) (first, from int) {
	e := &s.events[i]
	st, ok := s.of(e)
	if !ok || e.Bytes <= 0 {
		return -1, -1
	}
	list := s.sends[st]
	first = s.covering(list, e.Offset)
	if merged(e) {
		return first, first
	}
	return first, s.covering(list, e.Offset+e.Bytes-1)
}

// covering finds the send of byte offset, -1 if it was not seen.
func (s *streams) covering(list []int, offset int64) int {
	n, found := slices.BinarySearchFunc(list, offset, func(i int, offset int64) int { return cmp.Compare(s.events[i].Offset, offset) })
	if !found {
		n--
	}
	if n < 0 {
		return -1
	}
	if e := &s.events[list[n]]; offset < e.Offset+e.Bytes {
		return list[n]
	}
	return -1
}

// An end is a process that has a connection.
type end struct {
	conn string
	pid  int
}

// sides tells which process is at which end of a connection.
type sides struct {
	of    map[end]side
	users map[string][]int // the processes of a connection, in the order of their first events
}

type side uint8

const (
	unknownSide side = iota
	clientSide
	serverSide
	bothSides // a process that talks to itself
)

func (s side) other() side {
	switch s {
	case clientSide:
		return serverSide
	case serverSide:
		return clientSide
	}
	return s
}

func sidesOf(w *model.World) sides {
	s := sides{map[end]side{}, map[string][]int{}}
	for i := range w.Events {
		e := &w.Events[i]
		if e.Conn == "" {
			continue
		}
		at := end{e.Conn, e.PID}
		was, seen := s.of[at]
		if !seen {
			s.users[e.Conn] = append(s.users[e.Conn], e.PID)
		}
		switch e.Kind {
		case model.EventConnect:
			was |= clientSide
		case model.EventAccept:
			was |= serverSide
		}
		s.of[at] = was
	}
	parents := map[int]int{}
	for _, p := range w.Processes {
		parents[p.PID] = p.Parent
	}
	for conn, pids := range s.users {
		s.infer(conn, pids, parents)
	}
	return s
}

// infer tells the sides of a connection that was there before the snapshot, and
// of processes that inherited one. Where both ends are unknown the first takes
// one: what matters is only that they differ.
func (s sides) infer(conn string, pids []int, parents map[int]int) {
	known := unknownSide
	for _, pid := range pids {
		at := end{conn, pid}
		if s.of[at] == unknownSide {
			s.of[at] = s.of[end{conn, parents[pid]}]
		}
		if known == unknownSide {
			known = s.of[at]
		}
	}
	if known == unknownSide {
		known = clientSide
		if len(pids) == 1 {
			known = bothSides
		}
		s.of[end{conn, pids[0]}] = known
	}
	for _, pid := range pids {
		if at := (end{conn, pid}); s.of[at] == unknownSide {
			s.of[at] = known.other()
		}
	}
}

// client reports whether e was done at the end that connected. A process that
// has both ends is asked for the address that it talks to.
func (s sides) client(e *model.Event) (client, known bool) {
	switch s.of[end{e.Conn, e.PID}] {
	case clientSide:
		return true, true
	case serverSide:
		return false, true
	case bothSides:
		from, to := ends(e.Conn)
		peer := strings.TrimPrefix(e.Object, "tcp ")
		return peer == to, from != to && (peer == from || peer == to)
	}
	return false, false
}

// peers are the processes at the other end of e's connection.
func (s sides) peers(e *model.Event) (pids []int) {
	mine := s.of[end{e.Conn, e.PID}]
	for _, pid := range s.users[e.Conn] {
		if pid != e.PID && s.of[end{e.Conn, pid}] != mine {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ends are the two addresses of a connection, that of the client first.
func ends(conn string) (client, server string) {
	if _, rest, ok := strings.Cut(conn, " "); ok {
		client, server, _ = strings.Cut(rest, " ")
	}
	return client, server
}
