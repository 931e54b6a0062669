package live

import (
	"context"
	"strings"
	"testing"
	"time"
)

// long is what no test waits for.
const long = time.Hour

// patience is for what must happen.
const patience = 20 * time.Second

func over(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatalf("%s goes on", what)
	}
}

func goesOn(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	if ctx.Err() != nil {
		t.Fatalf("%s is over", what)
	}
}

// attended is a Steer with hands, and counts what they did.
func attended(abandoned *int) *Steer {
	s := &Steer{}
	s.Phase("act", "in the trial world")
	s.Attend(Hands{
		Abandon: func() { *abandoned++ },
		Worlds:  func() []World { return []World{{Name: "trial", Processes: 3}} },
	})
	return s
}

func TestNobodySpeaks(t *testing.T) {
	s := From(t.Context())
	if s != nil {
		t.Fatal("a context without a Steer has one")
	}
	s.Phase("a", "b")
	s.Attend(Hands{})
	s.Leave()
	ctx, release := s.Within(t.Context(), ForAction, time.Millisecond)
	defer release()
	over(t, ctx, "the wait")
	if s.Steered().Stopped != "" || s.Terminal() != nil {
		t.Error("something was steered")
	}
}

func TestStop(t *testing.T) {
	for _, what := range []string{ForAction, ForSettle} {
		abandoned := 0
		s := attended(&abandoned)
		ctx, release := s.Within(t.Context(), what, long)
		goesOn(t, ctx, what)
		if a := s.Do(Request{Verb: VerbStop}); a.Err() != nil {
			t.Fatal(a.Err())
		}
		over(t, ctx, what)
		release()
		if got := s.Steered(); got.Stopped != what || abandoned != 0 {
			t.Errorf("%s: steered %+v, abandoned %d times", what, got, abandoned)
		}
		next, release := s.Within(t.Context(), ForSettle, long)
		over(t, next, "what comes after a stop")
		release()
		if got := s.Steered(); got.Stopped != what {
			t.Errorf("a later wait changed what was stopped to %q", got.Stopped)
		}
		if a := s.Do(Request{Verb: VerbExtend, By: time.Minute}); a.Err() == nil {
			t.Error("a stopped run was extended")
		}
	}
}

func TestStopBetween(t *testing.T) {
	abandoned := 0
	s := attended(&abandoned)
	_, release := s.Within(t.Context(), ForAction, long)
	release()
	s.Do(Request{Verb: VerbStop})
	ctx, release := s.Within(t.Context(), ForSettle, long)
	defer release()
	over(t, ctx, "the watching")
	if got := s.Steered().Stopped; got != ForSettle {
		t.Errorf("stopped %q", got)
	}
}

func TestStopBefore(t *testing.T) {
	abandoned := 0
	s := attended(&abandoned)
	s.Do(Request{Verb: VerbStop})
	if abandoned != 1 || s.Steered().Stopped != "act" {
		t.Errorf("abandoned %d times, %+v", abandoned, s.Steered())
	}
	s.Do(Request{Verb: VerbStop})
	if abandoned != 1 {
		t.Error("abandoned twice")
	}

	early := &Steer{} // before there is an engine
	early.Do(Request{Verb: VerbStop})
	early.Attend(Hands{Abandon: func() { abandoned++ }})
	if abandoned != 2 {
		t.Error("an early stop was forgotten")
	}
}

func TestStopTooLate(t *testing.T) {
	abandoned := 0
	s := attended(&abandoned)
	_, release := s.Within(t.Context(), ForSettle, long)
	release()
	s.Leave()
	if a := s.Do(Request{Verb: VerbStop}); a.Err() == nil || abandoned != 0 {
		t.Errorf("stopped a run that is over: %+v", a)
	}
	if a := s.Do(Request{Verb: VerbExtend, By: time.Minute}); a.Err() == nil {
		t.Error("extended a run that is over")
	}
}

func TestExtend(t *testing.T) {
	abandoned := 0
	s := attended(&abandoned)
	s.Do(Request{Verb: VerbExtend, By: time.Hour}) // before the action
	ctx, release := s.Within(t.Context(), ForAction, time.Millisecond)
	left := func() time.Duration { return s.Do(Request{Verb: VerbStatus}).Status.Waits[0].Left }
	if got := left(); got < 59*time.Minute || got > time.Hour+time.Second {
		t.Errorf("%s left of the action, want an hour", got)
	}
	if a := s.Do(Request{Verb: VerbExtend, By: time.Hour}); !strings.Contains(a.Text, "2h0m0s") && !strings.Contains(a.Text, "1h59m59s") {
		t.Errorf("the answer is %+v", a)
	}
	if got := left(); got < 119*time.Minute {
		t.Errorf("%s left of the action, want two hours", got)
	}
	goesOn(t, ctx, "the action")
	release()
	over(t, ctx, "a released wait")
	_, release = s.Within(t.Context(), ForSettle, long)
	s.Do(Request{Verb: VerbExtend, By: time.Minute})
	release()
	if got := s.Steered(); got.Timeout != 2*time.Hour || got.Settle != time.Minute || got.Stopped != "" {
		t.Errorf("steered %+v", got)
	}
}

// TestExtendMoves wants the end of a wait to be where it was put to.
func TestExtendMoves(t *testing.T) {
	s := &Steer{}
	ctx, release := s.Within(t.Context(), ForSettle, long)
	defer release()
	s.mu.Lock()
	s.waits[0].until = time.Now() // as if the hour had passed
	s.mu.Unlock()
	s.Do(Request{Verb: VerbExtend, By: time.Millisecond})
	over(t, ctx, "an extended wait")
}

func TestStatus(t *testing.T) {
	abandoned := 0
	s := attended(&abandoned)
	st := s.Do(Request{Verb: VerbStatus}).Status
	if st.Phase != "act" || len(st.Worlds) != 1 || len(st.Waits) != 0 || st.Stopping {
		t.Errorf("status %+v", st)
	}
	s.Leave()
	if st := s.Do(Request{Verb: VerbStatus}).Status; len(st.Worlds) != 0 {
		t.Errorf("worlds of a run that was left: %+v", st.Worlds)
	}
}

func TestPass(t *testing.T) {
	s := &Steer{}
	s.Do(Request{Verb: VerbExtend, By: time.Minute})
	s.Do(Request{Verb: VerbStop})
	var got []Request
	s.Pass(func(r Request) Answer { got = append(got, r); s.Phase("x", ""); return Answer{Text: "elsewhere"} })
	if a := s.Do(Request{Verb: VerbStatus}); a.Text != "elsewhere" {
		t.Errorf("answer %+v", a)
	}
	if len(got) != 3 || got[0].By != time.Minute || got[1].Verb != VerbStop {
		t.Errorf("passed on: %+v", got)
	}
	s.Pass(nil)
	if a := s.Do(Request{Verb: VerbStatus}); a.Status == nil {
		t.Errorf("answer %+v", a)
	}
}

func TestCheck(t *testing.T) {
	for _, r := range []Request{{}, {Verb: "kill"}, {Verb: VerbExtend}, {Verb: VerbExtend, By: -1}, {Verb: VerbExtend, By: MostExtension + 1}} {
		if a := (&Steer{}).Do(r); a.Err() == nil {
			t.Errorf("%+v was done", r)
		}
	}
}
