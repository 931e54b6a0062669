//go:build linux

package faulttest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/model"
)

// scene is a victim with what is usual of it.
type scene struct {
	*victim
	usual custom
	dir   string // of the runs
}

func stage(t *testing.T, kind string) *scene {
	t.Helper()
	v := launch(t, kind)
	s := &scene{victim: v, dir: filepath.Join(filepath.Dir(v.dir), "run")}
	s.pilot(t, "the first run") // runtimes grow by being stopped
	s.usual = learn(v.cmd.Process.Pid, kind == "c")
	return s
}

// spec pilots an action that does nothing.
func (s *scene) spec() model.Spec {
	return model.Spec{
		Members: []model.Member{s.member()}, Action: []string{"/bin/true"}, Dir: "/", Env: os.Environ(),
		Probes:   []model.Probe{{Name: "up", Command: []string{"/bin/true"}}},
		MaxPause: time.Second, Timeout: 10 * time.Second, Settle: 10 * time.Millisecond,
	}
}

// pilot makes an undisturbed run, which must pass.
func (s *scene) pilot(t *testing.T, what string) {
	t.Helper()
	e := start(t, request{Spec: s.spec(), Dir: s.dir}).wait(t)
	if e.killed || e.Err != "" || len(e.Left) > 0 || e.Status != model.Pass {
		t.Fatalf("%s: killed %t in %q: %q, verdict %s %s, left %v: %s", what, e.killed, e.phase, e.Err, e.Status, e.Reason, e.Left, e.said)
	}
}

func TestPrivFirst(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := stage(t, kind)
			for i := range 5 {
				begin := time.Now()
				s.pilot(t, "run")
				fmt.Println(kind, i, time.Since(begin), s.usual.lasting(s.cmd.Process.Pid, kind == "c", time.Second))
			}
			_ = fault.All
			if w := s.wrong(); w != "" {
				t.Error(w)
			}
		})
	}
}
