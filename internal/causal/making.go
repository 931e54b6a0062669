package causal

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// made finds what a task was made for: what its maker is at, if that is a
// request. What does the usual is not made for one, and not what a task made
// that accepts connections, but for the one that serves the connection: such a
// task often is the main one, which made the workers for all that will come.
func (b *builder) made(c *carrier, i int) {
	e := &b.w.Events[i]
	if e.Task == "" || e.Maker == "" || b.usual[i] {
		return
	}
	name, place := maker(e.Maker)
	m := b.carriers[carrierKey{pid: e.PID, task: name}]
	if m == nil || !m.own {
		return
	}
	if at := &b.nodes[m.cur.node]; at.Kind == model.EventAccept && at.Conn != e.Conn {
		return
	}
	task := &model.Event{At: e.At, PID: e.PID, TID: e.TID, Member: e.Member, Kind: KindTask, Object: e.Maker, Task: e.Task}
	n := b.node(task, link{m.cur.node, Started, Likely})
	c.base = link{n, SameTask, Certain}
	c.state = state{cur: c.base, own: true}
	if b.nodes[m.cur.node].Kind == model.EventReceive {
		if m.made == nil {
			m.made = map[string][]int{}
		}
		m.made[place] = append(m.made[place], n)
	}
}

// late is how many of the last requests may have no task yet.
const late = 2

// align corrects what [builder.made] got wrong of tasks that slept before their
// first event: their maker was at a later request by then. If it made as many at
// a place as it read requests, it made one for each.
func (b *builder) align() {
	for _, c := range b.carriers {
		for _, tasks := range c.made {
			if tasks = b.byMaking(tasks); !oneEach(c.taken, tasks) {
				continue
			}
			for k, n := range tasks {
				b.move(n, link{c.taken[k], Started, Likely})
			}
		}
	}
}

// maker splits "goroutine 7, main.serve" into the task and the place. It reads
// Go's own "main.serve in goroutine 7" too.
func maker(s string) (task, place string) {
	const word = "goroutine "
	if before, after, ok := strings.Cut(s, word); ok {
		n := 0
		for n < len(after) && '0' <= after[n] && after[n] <= '9' {
			n++
		}
		place = strings.Trim(after[n:], " ,:")
		if place == "" {
			place = strings.TrimSuffix(strings.TrimPrefix(before, "created by "), " in ")
		}
		return word + after[:n], strings.TrimPrefix(place, "at ")
	}
	task, place, _ = strings.Cut(s, ",")
	return task, strings.TrimSpace(place)
}

// number is that of a task such as "goroutine 12", 0 for others.
func number(task string) int {
	n, _ := strconv.Atoi(task[strings.LastIndexByte(task, ' ')+1:])
	return n
}

// batch is how many numbers a processor of Go's scheduler takes for its next
// goroutines (_GoidCacheBatch of runtime/runtime2.go): within a batch they are in
// the order of their making. Batches begin with 16n+1, in some versions one later.
const batch = 16

// byMaking sorts tasks, which are in the order of their first events, by when
// they can have been made at the latest: before the first event of each that has
// a higher number of the same batch. Those that sleep for as long wake in any
// order.
func (b *builder) byMaking(tasks []int) []int {
	type task struct{ node, number, latest int }
	list := make([]task, len(tasks))
	for i, n := range tasks {
		list[i] = task{n, number(b.nodes[n].Task), n}
	}
	slices.SortStableFunc(list, func(s, t task) int { return t.number - s.number })
	for i := 1; i < len(list); i++ {
		t, higher := &list[i], list[i-1]
		if (t.number-1)/batch == (higher.number-1)/batch && t.number%batch > 1 {
			t.latest = min(t.node, higher.latest)
		}
	}
	slices.SortStableFunc(list, func(s, t task) int { return cmp.Or(s.latest-t.latest, s.number-t.number) })
	sorted := make([]int, len(list))
	for i, t := range list {
		sorted[i] = t.node
	}
	return sorted
}

// oneEach reports whether each request may have one of the tasks, in order.
func oneEach(requests, tasks []int) bool {
	if open := len(requests) - len(tasks); open < 0 || open > late {
		return false
	}
	for k := range tasks {
		if requests[k] > tasks[k] {
			return false
		}
	}
	return true
}
