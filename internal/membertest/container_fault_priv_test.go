//go:build linux

package membertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/testenv"
	"github.com/pilotexec/pilot/internal/victim"
)

// TestPrivContainerFaults lets pilot fail, and kills it, at every step between
// the first look at a member and the end of its worlds.
func TestPrivContainerFaults(t *testing.T) {
	t.Run("first", func(t *testing.T) {
		s := contain(t, rootless, true, member{"inside", victim.Identity{}})
		s.failEverywhere(t, []fault.Point{fault.ReaperBorn, fault.ReaperMade})
	})
	t.Run("others", func(t *testing.T) {
		s := contain(t, rootless, false, member{"inside", victim.Identity{}}, member{"inside", victim.Identity{}})
		s.failEverywhere(t, nil)
	})
}

// failEverywhere strikes at all points, of which the run does not come to missing.
func (s *scene) failEverywhere(t *testing.T, missing []fault.Point) {
	began := threadsOf(t, s.members[0].PID)
	s.joinContainer(t)
	for _, p := range fault.All() {
		if p < fault.ThreadSeized || p == fault.SignalSeen || p == fault.ForkDisarmed || slices.Contains(missing, p) ||
			strings.HasPrefix(p.String(), "agent:") || strings.HasPrefix(p.String(), "image:") {
			continue // package faulttest has these
		}
		var all []fault.Injection
		for skip := range len(s.members) {
			all = append(all, fault.Injection{Point: p, Effect: fault.Error, Skip: skip}, fault.Injection{Point: p, Effect: fault.Kill, Skip: skip})
		}
		for _, in := range testenv.Faults(all, int(p)) {
			ok := t.Run(fmt.Sprintf("%s/%s/%d", p, in.Effect, in.Skip), func(t *testing.T) {
				s.strike(t, in, in.Skip > 0 || p == fault.ArenaMapped)
				s.wantClean(t)
				for _, log := range s.logs {
					if n, bad := progress(log); len(bad) > 0 {
						t.Fatalf("%d of %d rounds of %s went wrong, first %q", len(bad), n, log, bad[0])
					}
				}
			})
			if !ok {
				return // what follows may come of it
			}
		}
	}
	s.wantAlive(t)
	testenv.WaitFor(t, "helpers end", func() bool { return threadsOf(t, s.members[0].PID) <= began+3 })
	s.forkBy(t, request{Take: true})
	s.wantClean(t)
}

// strike has an agent fail. Where the step is made once only, or has been made by an
// agent that was killed, it may not.
func (s *scene) strike(t *testing.T, in fault.Injection, maybe bool) {
	t.Helper()
	req := request{
		Members: s.members, Dir: filepath.Join(s.dir, "fork"), Take: true, Fault: in, Diary: filepath.Join(s.dir, "diary"),
	}
	input, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{agentName}, Stdin: bytes.NewReader(input), Stdout: &out, Stderr: os.Stderr}
	if err := s.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	testenv.WaitFor(t, "the agent's files go", func() bool { return os.RemoveAll(req.Dir) == nil })
	if rerr := os.Remove(req.Diary); errors.Is(rerr, fs.ErrNotExist) && maybe {
		return
	} else if rerr != nil {
		t.Fatalf("the run never came there: %v %s", rerr, &out)
	}
	if in.Effect == fault.Kill {
		if err == nil {
			t.Fatalf("the agent was not killed: %s", &out)
		}
		return
	}
	var o outcome
	if err := errors.Join(err, json.Unmarshal(out.Bytes(), &o)); err != nil {
		t.Fatalf("agent: %v", err)
	}
	for _, p := range o.Problems {
		if !strings.Contains(p, fault.ErrInjected.Error()) && !strings.HasPrefix(p, "doctor:") {
			t.Error(p)
		}
	}
}
