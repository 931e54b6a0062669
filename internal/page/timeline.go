package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// The drawing's measures, in its units.
const (
	chartWidth  = 1000.0
	gutter      = 136.0 // for the names of lanes
	longest     = 17    // of these, in characters
	rightMargin = 18.0
	laneHeight  = 32.0
	headHeight  = 34.0
	axisHeight  = 28.0
	// crowded is how near two marks of a kind may be and still be told apart.
	crowded   = 3.0
	markWidth = 14.0
	// mostBars bounds the bars of one lane.
	mostBars = 400
)

// A timeline draws both worlds above each other, on one axis.
type timeline struct {
	Width, Height float64
	Ticks         []tick
	Worlds        []timelineWorld
	Right         float64 // of the plot
	Top, Bottom   float64
	AxisY         float64
	Logged        bool // some error's time is known
}

type tick struct {
	X     float64
	Label string
}

type timelineWorld struct {
	Name  string
	HeadY float64
	Lanes []lane
	// Span is when the action ran, in the trial alone.
	Span *box
}

type lane struct {
	Name         string
	Y, Mid, Text float64
	Empty        string // what is said in a lane without bars
	EmptyX       float64
	Bars         []bar
	Marks        []mark
}

type box struct{ X, Y, Width, Height float64 }

type bar struct {
	box
	Class, Label, Title string
	LabelX, LabelY      float64
}

// A mark is a sign at a moment.
type mark struct {
	X, Y               float64
	Class, Sign, Title string
	sortsAt            time.Duration
}

// newTimeline lays out both worlds of r.
func newTimeline(r *model.Report) timeline {
	end := max(r.Trial.Lifetime, r.Control.Lifetime, lastMoment(r.Trial), lastMoment(r.Control), time.Millisecond)
	s := scale{end: end}
	t := timeline{Width: chartWidth, Right: chartWidth - rightMargin, Top: 8}
	y := t.Top
	for _, w := range []model.World{r.Trial, r.Control} {
		tw := timelineWorld{Name: w.Name, HeadY: y + 22}
		y += headHeight
		top := y
		for _, l := range lanes(r.Spec, w, s) {
			l.place(y)
			tw.Lanes = append(tw.Lanes, l)
			t.Logged = t.Logged || slices.ContainsFunc(l.Marks, func(m mark) bool { return m.Class == "log" })
			y += laneHeight
		}
		if start, stop, ok := actionSpan(w); ok {
			tw.Span = &box{s.x(start), top, max(round(s.x(stop)-s.x(start)), 2), round(y - top)}
		}
		t.Worlds = append(t.Worlds, tw)
		y += 10
	}
	t.Bottom = y
	t.AxisY = y + 16
	t.Height = y + axisHeight
	t.Ticks = s.ticks()
	return t
}

// A scale turns moments into places.
type scale struct{ end time.Duration }

func (s scale) x(d time.Duration) float64 {
	d = min(max(d, 0), s.end)
	return round(gutter + float64(d)/float64(s.end)*(chartWidth-gutter-rightMargin))
}

// ticks are at most eleven, at round moments.
func (s scale) ticks() (out []tick) {
	step := math.Pow(10, math.Floor(math.Log10(s.end.Seconds()/10)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if s.end.Seconds()/(step*factor) <= 10 {
			step *= factor
			break
		}
	}
	digits := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	for i := 0; ; i++ {
		at := time.Duration(float64(i) * step * float64(time.Second))
		if at > s.end {
			return out
		}
		out = append(out, tick{X: s.x(at), Label: fmt.Sprintf("%.*f s", digits, at.Seconds())})
	}
}

func lastMoment(w model.World) (last time.Duration) {
	for _, p := range w.Processes {
		last = max(last, p.Started)
		if p.Exit != nil {
			last = max(last, p.Exit.At)
		}
	}
	for _, a := range w.Attempts {
		last = max(last, a.At)
	}
	return last
}

// place moves what was laid out around 0 to the lane's height.
func (l *lane) place(y float64) {
	l.Y, l.Mid, l.Text = y, round(y+laneHeight/2), round(y+laneHeight/2+4.5)
	for i := range l.Bars {
		l.Bars[i].Y = round(l.Bars[i].Y + y)
		l.Bars[i].LabelY = l.Text
	}
	for i := range l.Marks {
		l.Marks[i].Y = round(l.Marks[i].Y + l.Mid)
	}
}

// lanes are the action's, the checks', and one of each member.
func lanes(spec model.Spec, w model.World, s scale) []lane {
	var list []lane
	if w.Name == "trial" {
		list = append(list, actionLane(w, s))
	}
	if len(w.Probes) > 0 {
		list = append(list, checksLane(spec, w, s))
	}
	for _, m := range spec.Members {
		list = append(list, memberLane(m, w, s))
	}
	for i := range list {
		list[i].EmptyX, list[i].Empty = gutter+8, cmp.Or(list[i].Empty, "nothing ran")
		if len(list[i].Bars) > 0 {
			list[i].Empty = ""
		}
		list[i].Marks = thinned(list[i].Marks)
		spread(list[i].Marks)
	}
	return list
}

// actionSpan is when the action ran.
func actionSpan(w model.World) (start, stop time.Duration, ok bool) {
	if w.Action == nil || w.Action.Err != "" {
		return 0, 0, false
	}
	return commandSpan(w, *w.Action)
}

// commandSpan is when a command ran: as its process tells, else by how long it took.
func commandSpan(w model.World, c model.CommandResult) (start, stop time.Duration, ok bool) {
	for _, p := range w.Processes {
		if c.PID != 0 && p.PID == c.PID {
			return p.Started, stopOf(p, w), true
		}
	}
	if c.Exit == nil || c.Exit.At == 0 {
		return 0, 0, false
	}
	return max(c.Exit.At-c.Duration, 0), c.Exit.At, true
}

func stopOf(p model.Process, w model.World) time.Duration {
	if p.Exit != nil {
		return p.Exit.At
	}
	return max(w.Lifetime, p.Started)
}

func actionLane(w model.World, s scale) lane {
	l := lane{Name: "action"}
	if start, stop, ok := actionSpan(w); ok {
		class := "act"
		if !w.Action.OK() {
			class = "act bad"
		}
		l.Bars = append(l.Bars, newBar(s, start, stop, 6, 12, class, "the action: "+how(w.Action)))
		l.Marks = append(l.Marks, exitMarks(s, w.Action.Exit, stop, "the action")...)
	}
	for _, p := range w.Processes {
		if p.Cause != model.CauseAction || p.Member != "" || w.Action != nil && p.PID == w.Action.PID {
			continue
		}
		l.Bars = append(l.Bars, newBar(s, p.Started, stopOf(p, w), 21, 6, "sub"+bad(p.Exit), title(p, w)))
		if p.Exit != nil && !p.Exit.OK() {
			l.Marks = append(l.Marks, mark{X: s.x(p.Exit.At), Class: "exit bad", Sign: "✕", Title: title(p, w), sortsAt: p.Exit.At})
		}
	}
	l.Bars = l.Bars[:min(len(l.Bars), mostBars)]
	l.Marks = append(l.Marks, attemptMarks(w, s, func(a model.Attempt) bool { return a.Member == "" })...)
	l.Marks = append(l.Marks, logMarks(w, s, "")...)
	return l
}

func checksLane(spec model.Spec, w model.World, s scale) lane {
	l := lane{Name: "checks", Empty: "their times are not known"}
	for _, p := range w.Probes {
		for _, c := range []struct {
			when   string
			result model.CommandResult
		}{{"before", p.Before}, {"after", p.After}} {
			start, stop, ok := commandSpan(w, c.result)
			if !ok {
				continue
			}
			got := result(spec, p.Name, c.when, c.result)
			class, sign := "check", "✓"
			switch got.Class {
			case "failed":
				class, sign = "check bad", "✕"
			case "plain":
				sign = "·"
			}
			b := newBar(s, start, stop, 8, 16, class, fmt.Sprintf("check %q %s the action: %s", p.Name, c.when, got.Outcome))
			if b.Width > 60 {
				b.Label, b.LabelX = c.when, round(b.X+6)
			}
			l.Bars = append(l.Bars, b)
			l.Marks = append(l.Marks, mark{X: round(b.X + b.Width), Class: class, Sign: sign, Title: b.Title, sortsAt: stop})
		}
	}
	return l
}

func memberLane(m model.Member, w model.World, s scale) lane {
	l := lane{Name: short(m.Name), Empty: "down"}
	if !m.Down() {
		l.Empty = "not seen"
	}
	for _, p := range w.Processes {
		if p.Member != m.Name || p.Cause == model.CauseCheck {
			continue
		}
		y, height, class := 8.0, 16.0, "new"
		if p.Phantom {
			class = "phantom"
		} else if p.Cause == model.CausePhantom {
			y, height, class = 26, 4, "sub"
		}
		l.Bars = append(l.Bars, newBar(s, p.Started, stopOf(p, w), y, height, class+bad(p.Exit), title(p, w)))
		if !p.Phantom {
			l.Marks = append(l.Marks, mark{X: s.x(p.Started), Class: "start", Sign: "▸", Title: "starts: " + title(p, w), sortsAt: p.Started})
		}
		l.Marks = append(l.Marks, exitMarks(s, p.Exit, stopOf(p, w), title(p, w))...)
	}
	l.Bars = l.Bars[:min(len(l.Bars), mostBars)]
	l.Marks = append(l.Marks, attemptMarks(w, s, func(a model.Attempt) bool { return a.Member == m.Name })...)
	l.Marks = append(l.Marks, logMarks(w, s, m.Name)...)
	return l
}

func newBar(s scale, start, stop time.Duration, y, height float64, class, title string) bar {
	x := s.x(start)
	return bar{box: box{x, y, max(round(s.x(stop)-x), 2), height}, Class: class, Title: title}
}

func bad(e *model.Exit) string {
	if e == nil || e.OK() {
		return ""
	}
	return " bad"
}

// title says what a process was, on one line.
func title(p model.Process, w model.World) string {
	text := fmt.Sprintf("pid %d", p.PID)
	if len(p.Args) > 0 {
		text += " " + clip(strings.Join(p.Args, " "))
	}
	if p.Exit == nil {
		return text + ", runs at the end"
	}
	return fmt.Sprintf("%s, %s at %s", text, ended(p.Exit), at(p.Exit.At))
}

// short is a name that fits beside its lane.
func short(name string) string {
	if runes := []rune(name); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return name
}

// clip bounds the tooltips of the drawing.
func clip(s string) string {
	if runes := []rune(s); len(runes) > 160 {
		return string(runes[:159]) + "…"
	}
	return s
}
