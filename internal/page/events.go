package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// mostEvents bounds the events that are shown of one world.
const mostEvents = 5000

// An eventWorld is the events of one world, process by process. When there is a
// tree of who caused what (internal/causal), it takes the place of Roots: the
// template "branch" shows one node and its children.
type eventWorld struct {
	World string
	Roots []branch
	Shown int
	More  int
}

// A branch is a process, what it did, and the processes that it started.
type branch struct {
	PID      int
	Name     string
	Events   []eventRow
	Children []branch
	Total    int // events here and below
}

type eventRow struct {
	model.Event
	Text, Class string
}

func eventWorlds(r *model.Report) (out []eventWorld) {
	for _, w := range []model.World{r.Trial, r.Control} {
		if len(w.Events) > 0 {
			out = append(out, newEventWorld(w))
		}
	}
	return out
}

func newEventWorld(w model.World) eventWorld {
	shown := w.Events[:min(len(w.Events), mostEvents)]
	f := forest{processes: map[int]model.Process{}, children: map[int][]int{}, events: map[int][]eventRow{}, seen: map[int]bool{}}
	for _, p := range w.Processes {
		f.processes[p.PID] = p
		f.children[p.Parent] = append(f.children[p.Parent], p.PID)
	}
	for _, e := range shown {
		f.events[e.PID] = append(f.events[e.PID], eventRow{Event: e, Text: eventText(e), Class: eventClass(e)})
	}
	out := eventWorld{World: w.Name, Shown: len(shown), More: len(w.Events) - len(shown)}
	for _, p := range w.Processes {
		if _, known := f.processes[p.Parent]; !known {
			out.Roots = append(out.Roots, f.grow(p.PID)...)
		}
	}
	// Processes in a ring of parents, which no world has, and those that are not
	// listed: nothing that was seen is left out.
	for _, p := range w.Processes {
		out.Roots = append(out.Roots, f.grow(p.PID)...)
	}
	strangers := []int{}
	for pid := range f.events {
		strangers = append(strangers, pid)
	}
	slices.Sort(strangers)
	for _, pid := range strangers {
		out.Roots = append(out.Roots, f.grow(pid)...)
	}
	return out
}

type forest struct {
	processes map[int]model.Process
	children  map[int][]int
	events    map[int][]eventRow
	seen      map[int]bool
}

// grow is the branch of pid, and nothing when it is empty or has been shown.
func (f forest) grow(pid int) []branch {
	if f.seen[pid] {
		return nil
	}
	f.seen[pid] = true
	b := branch{PID: pid, Name: f.name(pid), Events: f.events[pid], Total: len(f.events[pid])}
	for _, child := range f.children[pid] {
		b.Children = append(b.Children, f.grow(child)...)
	}
	for _, c := range b.Children {
		b.Total += c.Total
	}
	if b.Total == 0 {
		return nil
	}
	return []branch{b}
}

func (f forest) name(pid int) string {
	if p, known := f.processes[pid]; known {
		return cmp.Or(strings.Trim(p.Member+" "+command(p.Args), " "), "a process")
	}
	for _, e := range f.events[pid] {
		return cmp.Or(e.Member, "a process that was not listed")
	}
	return ""
}

// eventText is e on one line, without its time and kind.
func eventText(e model.Event) string {
	parts := []string{e.Object}
	if e.To != "" {
		parts = append(parts, "→ "+e.To)
	}
	if e.Child != 0 {
		parts = append(parts, fmt.Sprintf("pid %d", e.Child))
	}
	if e.Conn != "" && e.Conn != e.Object {
		parts = append(parts, e.Conn)
	}
	if e.Bytes > 0 {
		parts = append(parts, size(e.Bytes))
	}
	if e.Took > 0 {
		parts = append(parts, "took "+span(e.Took))
	}
	if e.Count > 1 {
		parts = append(parts, fmt.Sprintf("%d times", e.Count))
	}
	if e.Error != "" {
		parts = append(parts, e.Error)
	}
	return strings.TrimSpace(strings.Join(parts, "  "))
}

func eventClass(e model.Event) string {
	switch {
	case e.Kind == model.EventBlocked:
		return "tried"
	case e.Error != "":
		return "failed"
	}
	return ""
}
