//go:build linux

package kindtest

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/victim"
)

func TestPrivEvents(t *testing.T) {
	for _, level := range []string{model.TraceEffects, model.TraceFull} {
		t.Run(level, func(t *testing.T) {
			s := stage(t, member{kind: "busy-server"}, member{kind: "busy-client"})
			script := ""
			for _, dir := range []string{filepath.Dir(s.logs[0]), filepath.Dir(s.logs[1])} {
				script += fmt.Sprintf("touch %s/%s; until test -e %[1]s/%[3]s; do sleep 0.05; done & ", dir, victim.Go, victim.Done)
			}
			script += fmt.Sprintf("wait; cat %s/%s %s/%[2]s", filepath.Dir(s.logs[0]), victim.Done, filepath.Dir(s.logs[1]))
			o := s.agent(t, request{Run: &model.Spec{Action: []string{"sh", "-c", script}, Trace: level, Timeout: 20 * time.Second}})
			if o.Report == nil {
				t.Fatal(o.Problems)
			}
			t.Log(o.Report.Trial.Action.Output, o.Report.Trial.Incomplete, o.Report.Verdict.NotCovered)
			for _, e := range o.Report.Trial.Events {
				t.Logf("%+v", e)
			}
			t.Log("control", len(o.Report.Control.Events))
		})
	}
}
