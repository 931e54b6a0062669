package verdict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func logs(world func(*model.Observation) *model.World, groups ...model.LogGroup) edit {
	return func(o *model.Observation) { world(o).Logs = append(world(o).Logs, groups...) }
}

func trialWorld(o *model.Observation) *model.World   { return &o.Trial }
func controlWorld(o *model.Observation) *model.World { return &o.Control }

func message(member, level, template string) model.LogGroup {
	return model.LogGroup{Member: member, Source: "output", Level: level, Template: template, Count: 2, First: []string{template, "\tat a stack"}}
}

func TestLogged(t *testing.T) {
	lost := message("etcd1", model.LogError, "lost leader #")
	for _, c := range []struct {
		name  string
		edits []edit
		want  string // the only message, or nothing
	}{
		{"error in the trial", []edit{logs(trialWorld, lost)}, "etcd1 (2 times) logged what the control has not: lost leader #"},
		{"of two members", []edit{logs(trialWorld, lost, message("etcd2", model.LogFatal, "lost leader #"))},
			"etcd1 and etcd2 (4 times) logged what the control has not: lost leader #"},
		{"in the control, too", []edit{logs(trialWorld, lost), logs(controlWorld, lost)}, ""},
		{"another member's in the control", []edit{logs(trialWorld, lost), logs(controlWorld, message("etcd2", model.LogError, "lost leader #"))}, ""},
		{"in the control only", []edit{logs(controlWorld, lost)}, ""},
		{"a warning", []edit{logs(trialWorld, message("etcd1", model.LogWarning, "slow disk"))}, ""},
		{"a warning in the control", []edit{logs(trialWorld, lost), logs(controlWorld, message("etcd1", model.LogWarning, "lost leader #"))},
			"etcd1 (2 times) logged what the control has not: lost leader #"},
		{"the action's", []edit{logs(trialWorld, message("", model.LogError, "no such member"))}, "the action (2 times) logged what the control has not: no such member"},
	} {
		o := healthy(c.edits...)
		v := Judge(o)
		got := ""
		for _, f := range v.Findings {
			got += f.Message
			if f.Severity != model.Warning || len(f.Evidence) != 2 || !strings.Contains(f.Evidence[1].Text, "a stack") {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if got != c.want || v.Status != model.Pass {
			t.Errorf("%s: %s, %q, want %q", c.name, v.Status, got, c.want)
		}
	}
}

// TestManyLogged bounds what a report says of a storm of errors.
func TestManyLogged(t *testing.T) {
	var groups []model.LogGroup
	for i := range 30 {
		groups = append(groups, message("etcd1", model.LogError, fmt.Sprint("error of kind ", string(rune('a'+i)))))
	}
	found := logged(healthy(logs(trialWorld, groups...)))
	if len(found) != mostLogged+1 || !strings.HasPrefix(found[mostLogged].Message, "20 more kinds") {
		t.Errorf("%d findings, the last %q", len(found), found[len(found)-1].Message)
	}
}

// TestQuoteOnce: what killed a member is told once, also when it is logged.
func TestQuoteOnce(t *testing.T) {
	const cause = "panic: tocommit(11) is out of range"
	o := healthy(
		trialProcess(model.Process{PID: 13, Parent: 900, Member: "etcd3", Cause: model.CauseAction, Args: []string{"etcd"}, Exit: exit(2, time.Second), Output: []string{cause}}),
		logs(trialWorld, model.LogGroup{Source: "output of the action", Level: model.LogFatal, Template: "panic: tocommit(#) is out of range", Count: 1, First: []string{cause}}),
	)
	o.Trial.Action.Exit, o.Trial.Action.Output = exit(1, time.Second), cause
	times := 0
	for _, f := range Judge(o).Findings {
		if f.Rule == ruleLogged {
			t.Errorf("found once more: %+v", f)
		}
		for _, e := range f.Evidence {
			times += strings.Count(e.Text, cause)
		}
	}
	if times != 1 {
		t.Errorf("quoted %d times", times)
	}
}
