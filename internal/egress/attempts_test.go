package egress

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestRecord(t *testing.T) {
	began := time.Now()
	r := newRecord()
	curl := sender{pid: 7, process: "curl"}
	for range 3 {
		r.add(curl, "connect", "tcp 10.0.0.7:443", byNetwork, "EHOSTUNREACH")
	}
	r.add(curl, "connect", "tcp 10.0.0.7:443", byPolicy, model.AnswerStub)
	r.add(sender{}, "connect", "tcp 10.0.0.7:443", byNetwork, "EHOSTUNREACH")
	got := r.attempts(began)
	if len(got) != 3 || got[0].Count != 3 || got[0].PID != 7 || got[0].Process != "curl" || got[1].Answer != model.AnswerStub || got[2].PID != 0 {
		t.Errorf("got %+v", got)
	}
	if got[0].At < 0 || got[0].At > time.Minute || got[1].At < got[0].At {
		t.Errorf("times %v and %v", got[0].At, got[1].At)
	}
	if m := r.missing(); m != nil {
		t.Errorf("missing %q", m)
	}
	for i := range maxAttempts {
		r.add(curl, "send", fmt.Sprint(i), byNetwork, "")
	}
	if got := r.attempts(began); len(got) != maxAttempts || len(r.missing()) != 1 {
		t.Errorf("%d attempts, missing %q", len(got), r.missing())
	}
}

func TestMerge(t *testing.T) {
	attempt := func(pid int, op, target string, edit func(*model.Attempt)) model.Attempt {
		a := model.Attempt{PID: pid, Op: op, Target: target, By: byNetwork, Count: 1, At: 5}
		if edit != nil {
			edit(&a)
		}
		return a
	}
	stack := []string{"main.dial"}
	ours := []model.Attempt{
		attempt(7, "connect", "tcp a:1", func(a *model.Attempt) { a.Answer, a.By, a.Count = model.AnswerStub, byPolicy, 2 }),
		attempt(0, "connect", "tcp b:1", func(a *model.Attempt) { a.Answer = "EHOSTUNREACH" }),
		attempt(7, "send", "udp c:1", nil),
		attempt(0, "connect", "tcp d:1", nil),
	}
	theirs := []model.Attempt{
		attempt(7, "connect", "tcp a:1", func(a *model.Attempt) { a.TID, a.Stack, a.Count, a.At, a.Process = 9, stack, 3, 2, "x" }),
		attempt(8, "connect", "tcp b:1", func(a *model.Attempt) { a.Member, a.Stack = "etcd1", stack }),
		attempt(8, "connect", "tcp a:1", nil),
		attempt(8, "reboot", "", nil),
		attempt(8, "connect", "tcp d:1", nil),
		attempt(9, "connect", "tcp d:1", nil),
	}
	want := []model.Attempt{
		{PID: 7, TID: 9, Op: "connect", Target: "tcp a:1", By: byPolicy, Answer: model.AnswerStub, Stack: stack, Count: 3, At: 2, Process: "x"},
		{PID: 8, Member: "etcd1", Op: "connect", Target: "tcp b:1", By: byNetwork, Answer: "EHOSTUNREACH", Stack: stack, Count: 1, At: 5},
		ours[2], theirs[4], theirs[2], theirs[3], theirs[5],
	}
	if got := Merge(ours, theirs); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Which of the two comes first makes no difference to what is known.
	back := Merge(theirs, ours)
	if len(back) != len(want) || back[0].Answer != model.AnswerStub || back[0].By != byPolicy || back[1].Answer != "EHOSTUNREACH" {
		t.Errorf("got %+v", back)
	}
	if got := Merge(nil, nil); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
