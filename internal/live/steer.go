package live

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// A Steer is how users act on one run. All methods work on a nil Steer, as if
// nobody ever spoke. They may be called by several goroutines.
type Steer struct {
	mu       sync.Mutex // guards all below, and is held while the hands work
	phase    string
	text     string
	since    time.Time
	hands    Hands
	waits    []*wait
	acted    bool // the action has begun
	stopped  bool
	owed     time.Duration // by which the action's timeout was extended before it
	steered  model.Steered
	pass     func(Request) Answer // to who carries the run out elsewhere
	terminal Terminal
}

// Hands are what a Steer does to the engine.
type Hands struct {
	// Abandon ends the run before its action.
	Abandon func()
	// Worlds lists the worlds that live.
	Worlds func() []World
}

// wait is a [Wait] that goes on.
type wait struct {
	what         string
	began, until time.Time
	timer        *time.Timer
	cancel       context.CancelFunc
}

type key struct{}

// With returns a context of a run that s steers.
func With(ctx context.Context, s *Steer) context.Context { return context.WithValue(ctx, key{}, s) }

// From returns the Steer of a run, nil if it has none.
func From(ctx context.Context) *Steer {
	s, _ := ctx.Value(key{}).(*Steer)
	return s
}

// Phase tells in which phase the run is from now on.
func (s *Steer) Phase(phase, text string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.text, s.since = phase, text, time.Now()
}

// Attend gives s its hands. A stop that came before is done now.
func (s *Steer) Attend(h Hands) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hands = h
	if s.stopped && !s.acted {
		s.abandon()
	}
}

// Leave takes the hands from s. When it returns they do not work, and never will.
func (s *Steer) Leave() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hands = Hands{}
}

// Within returns a context that ends when d has passed and what users have added
// to it, or when they stop the run. The returned function ends the wait.
func (s *Steer) Within(ctx context.Context, what string, d time.Duration) (context.Context, context.CancelFunc) {
	if s == nil {
		return context.WithTimeout(ctx, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	s.acted = true
	if what == ForAction {
		d += s.owed
		s.owed = 0
	}
	now := time.Now()
	w := &wait{what: what, began: now, until: now.Add(d), cancel: cancel, timer: time.AfterFunc(d, cancel)}
	s.waits = append(s.waits, w)
	if s.stopped {
		s.cut(w)
	}
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waits = slices.DeleteFunc(s.waits, func(other *wait) bool { return other == w })
		w.timer.Stop()
		cancel()
	}
}

// Pass has another Steer do what is asked for from now on, which is that of a
// process that carries out the run. It is told what was asked for before. nil
// ends that.
func (s *Steer) Pass(pass func(Request) Answer) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.pass = pass
	owed, stopped := s.owed, s.stopped
	s.mu.Unlock()
	if pass != nil && owed > 0 {
		pass(Request{Verb: VerbExtend, By: owed})
	}
	if pass != nil && stopped {
		pass(Request{Verb: VerbStop})
	}
}

// Steered returns what users did to the run.
func (s *Steer) Steered() model.Steered {
	if s == nil {
		return model.Steered{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steered
}

// Do does what r asks for.
func (s *Steer) Do(r Request) Answer {
	if err := r.Check(); err != nil {
		return Answer{Error: err.Error()}
	}
	s.mu.Lock()
	if pass := s.pass; pass != nil {
		s.mu.Unlock() // the answer may come by who tells us of a phase
		return pass(r)
	}
	defer s.mu.Unlock()
	switch r.Verb {
	case VerbStop:
		return s.stop()
	case VerbExtend:
		return s.extend(r.By)
	case VerbResize:
		if s.terminal != nil {
			s.terminal.Resized(r.Size)
		}
		return Answer{}
	default:
		return Answer{Status: s.status()}
	}
}

func (s *Steer) status() *Status {
	st := &Status{Phase: s.phase, Text: s.text, Since: s.since, Stopping: s.stopped, Waits: []Wait{}, Worlds: []World{}}
	for _, w := range s.waits {
		st.Waits = append(st.Waits, Wait{For: w.what, Began: w.began, Left: max(0, time.Until(w.until))})
	}
	if s.hands.Worlds != nil {
		st.Worlds = append(st.Worlds, s.hands.Worlds()...)
	}
	return st
}

func (s *Steer) stop() Answer {
	switch {
	case s.stopped:
		return Answer{Text: "it has been told to stop already"}
	case s.acted && s.hands.Worlds == nil:
		return Answer{Error: "the watching is over, the run is being judged"}
	}
	s.stopped = true
	if !s.acted {
		s.steered.Stopped = s.phase
		if s.phase == "" {
			s.steered.Stopped = "begin"
		}
		s.abandon()
		return Answer{Text: "it ends before the action: the verdict will be unknown"}
	}
	text := "nothing is waited for any longer"
	for _, w := range s.waits {
		s.cut(w)
		text = "it ends at once, and is judged by what was seen"
		if w.what == ForAction {
			text = "the action is not waited for any longer: the verdict will be unknown"
		}
	}
	return Answer{Text: text}
}

// cut ends a wait because the user has stopped the run.
func (s *Steer) cut(w *wait) {
	if s.steered.Stopped == "" {
		s.steered.Stopped, s.steered.After = w.what, time.Since(w.began)
	}
	w.cancel()
}

func (s *Steer) abandon() {
	if s.hands.Abandon != nil {
		s.hands.Abandon()
	}
}

func (s *Steer) extend(by time.Duration) Answer {
	if s.stopped {
		return Answer{Error: "it has been told to stop"}
	}
	if !s.acted {
		s.owed += by
		s.steered.Timeout += by
		return Answer{Text: fmt.Sprintf("the action will have %s more", by)}
	}
	text := ""
	for _, w := range s.waits {
		if !w.timer.Stop() {
			continue // its time was up just now
		}
		w.until = w.until.Add(by)
		left := time.Until(w.until)
		w.timer.Reset(left)
		what := "the watching"
		if w.what == ForAction {
			what = "the action"
			s.steered.Timeout += by
		} else {
			s.steered.Settle += by
		}
		text = fmt.Sprintf("%s has %s left", what, left.Round(time.Second))
	}
	if text == "" {
		return Answer{Error: "nothing is waited for: the action and the watching are over, or the next begins"}
	}
	return Answer{Text: text}
}
