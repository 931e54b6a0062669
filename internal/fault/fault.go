package fault

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrInjected is the cause of every error that a point returns.
var ErrInjected = errors.New("injected fault")

// An Effect is what happens at a point.
type Effect string

// The effects.
const (
	Error Effect = "error" // the step fails, although it was made
	Delay Effect = "delay" // the step takes longer
	Kill  Effect = "kill"  // the agent is killed by SIGKILL
)

// An Injection is one fault to come.
type Injection struct {
	Point  Point
	Effect Effect
	// Skip is how often the point is passed before.
	Skip int
	// Delay is how long the effect Delay takes.
	Delay time.Duration
}

// plan is what was armed.
type plan struct {
	tell func(Injection)

	mu   sync.Mutex // guards left
	left []Injection
}

// armed is nil in production. It is the one global of pilot: a fault strikes
// the process, and a step must not carry the means of its own failure along.
var armed atomic.Pointer[plan]

// Arm makes the injections happen, each once, whichever thread comes to its
// point. tell is called just before. No injections disarm all points.
func Arm(tell func(Injection), list ...Injection) {
	if len(list) == 0 {
		armed.Store(nil)
		return
	}
	armed.Store(&plan{tell: tell, left: append([]Injection(nil), list...)})
}

// Hit is called when the step p has been made.
func (p Point) Hit() error {
	if a := armed.Load(); a != nil {
		return a.hit(p)
	}
	return nil
}

func (a *plan) hit(p Point) error {
	in, due := a.due(p)
	if !due {
		return nil
	}
	a.tell(in)
	switch in.Effect {
	case Delay:
		time.Sleep(in.Delay)
	case Kill:
		self, _ := os.FindProcess(os.Getpid()) // never fails on Unix
		_ = self.Kill()
		select {} // it ends here
	case Error:
		return fmt.Errorf("%v: %w", p, ErrInjected)
	}
	return nil
}

// due takes the injection for p off the list when its time has come.
func (a *plan) due(p Point) (Injection, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.left {
		in := &a.left[i]
		if in.Point != p {
			continue
		}
		if in.Skip > 0 {
			in.Skip--
			return Injection{}, false
		}
		got := *in
		a.left = append(a.left[:i], a.left[i+1:]...)
		return got, true
	}
	return Injection{}, false
}
