package verdict

import (
	"reflect"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestBlockedQuotes(t *testing.T) {
	again := with(outside, func(a *model.Attempt) { a.PID, a.Count, a.Stack = 961, 2, nil })
	want := []model.Evidence{
		{Source: "attempt", Text: "/usr/bin/curl -s http://10.0.0.7: 3 times, first at 1s, EHOSTUNREACH by network"},
		{Source: "stack", Text: "connect"}, {Source: "stack", Text: "main"},
	}
	f := Judge(healthy(tries(again, outside))).Findings[0]
	if !reflect.DeepEqual(f.Evidence, want) || f.PID != 961 || f.Control != "not tried there" {
		t.Errorf("got %+v", f)
	}
	f = Judge(healthy(tries(with(outside, nameless)))).Findings[0]
	if got := f.Evidence[0].Text; got != "once, at 1s, EHOSTUNREACH by network" {
		t.Errorf("got %q", got)
	}
}

func TestAttemptsAreEffects(t *testing.T) {
	o := healthy(tries(outside, members,
		with(members, func(a *model.Attempt) { a.Target = "other.example" }),
		with(outside, func(a *model.Attempt) { a.Op, a.Answer, a.Count = "http GET", model.AnswerRead, 4 }),
		model.Attempt{PID: 960, Process: "init 6", Op: "reboot", By: "seccomp", Count: 1},
		with(outside, nameless),
	), controlTries(members))
	want := []model.Effect{
		{Sign: "!", Kind: "network", Object: "tcp 10.0.0.7:443", Detail: "connect by curl, pid 960: EHOSTUNREACH"},
		{Sign: "!", Kind: "network", Object: "other.example", Member: "etcd1", Detail: "resolve, pid 11, 3 times: REFUSED"},
		{Sign: "!", Kind: "network", Object: "tcp 10.0.0.7:443", Detail: "http GET by curl, pid 960, 4 times: read"},
		{Sign: "!", Kind: "call", Object: "reboot", Detail: "called by init, pid 960"},
		{Sign: "!", Kind: "network", Object: "tcp 10.0.0.7:443", Detail: "connect by an unknown process: EHOSTUNREACH"},
	}
	v := Judge(o)
	if !reflect.DeepEqual(v.Effects, want) {
		t.Errorf("got  %+v\nwant %+v", v.Effects, want)
	}
	last := v.Differences[len(v.Differences)-1]
	if last != (model.Difference{What: "attempts to leave the world", Trial: "6", Control: "1"}) {
		t.Errorf("got %+v", last)
	}
}

// TestFoldedKeepsItsInput wants that counting changes nothing that is reported.
func TestFoldedKeepsItsInput(t *testing.T) {
	w := model.World{Attempts: []model.Attempt{with(outside, func(a *model.Attempt) { a.Stack = nil }), outside}}
	got := folded(w)
	if len(got) != 1 || got[0].Count != 2 || len(got[0].Stack) != 2 || w.Attempts[0].Count != 1 || got[0].At != time.Second {
		t.Errorf("got %+v of %+v", got, w.Attempts)
	}
}
