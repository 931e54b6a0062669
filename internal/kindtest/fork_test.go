//go:build linux

package kindtest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// agent has the agent do req in the scene's network.
func (s *scene) agent(t *testing.T, req request) (o outcome) {
	t.Helper()
	req.Members, req.Dir = s.members, filepath.Join(s.dir, "fork")
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, os.Stderr
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("agent: %v", err)
	}
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		t.Fatalf("agent said %q: %v", out.Bytes(), err)
	}
	return o
}

// fork forks the victims and wants both sides to go on correctly.
func (s *scene) fork(t *testing.T) outcome {
	t.Helper()
	return s.forkAs(t, request{})
}

func (s *scene) forkAs(t *testing.T, req request) outcome {
	t.Helper()
	o := s.agent(t, req)
	for _, p := range o.Problems {
		t.Error(p)
	}
	if len(o.Worlds) != 2 || len(o.Worlds[1].Logs) < len(s.logs) {
		t.FailNow()
	}
	for _, w := range o.Worlds {
		for i, log := range w.Logs {
			if n, bad := scan(log); len(bad) > 0 {
				t.Errorf("phantom of %s in %s: %d of %d rounds went wrong (the fork was at %d), first %q",
					s.members[i].Name, w.Name, len(bad), n, w.AtCut[i], bad[0])
			}
		}
	}
	s.wantOrigins(t)
	t.Logf("pause %v, %d threads, %d objects; clocks ahead %v, %v; gaps %v", o.Pause.Total, o.Pause.Threads, o.Pause.Objects,
		o.Worlds[0].ClockAhead, o.Worlds[1].ClockAhead, o.Worlds[0].Gaps)
	return o
}

// wantOrigins wants the victims to go on correctly.
func (s *scene) wantOrigins(t *testing.T) {
	t.Helper()
	for i, log := range s.logs {
		name := s.members[i].Name
		now, _ := progress(log)
		waitFor(t, "origin "+name+" goes on", func() bool {
			n, bad := progress(log)
			return n >= now+rounds || len(bad) > 0
		})
		if n, bad := progress(log); len(bad) > 0 {
			t.Errorf("origin %s: %d of %d rounds went wrong, first %q", name, len(bad), n, bad[0])
		}
	}
}
