//go:build linux

package agent

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/observe"
	"github.com/pilotexec/pilot/internal/trace"
	"github.com/pilotexec/pilot/internal/worldinit"
)

// openTrace readies the recording of events, if the run wants them, before the
// snapshot: the worlds must not wait for it. A kernel that cannot do it is no
// reason to refuse: what is judged does not need events.
func (r *run) openTrace() {
	level := map[string]trace.Level{model.TraceEffects: trace.Effects, model.TraceFull: trace.Full}[r.spec.Trace]
	if level == 0 {
		return
	}
	t, err := trace.Open(level)
	if err != nil {
		r.untraced(err)
		return
	}
	r.events = t
}

// beginTrace has the events of all worlds recorded, which are about to be
// released.
func (r *round) beginTrace() {
	t := r.events
	if t == nil {
		return
	}
	if err := t.Attach(); err != nil {
		r.untraced(err)
		return
	}
	for _, s := range r.sides() {
		w := trace.World{
			Init: s.world.Init().PID(), Launcher: worldinit.ExecName, Outputs: filepath.Join(s.world.Dir, "output"),
			MemberOf: func(args []string) string { return observe.MemberOf(r.spec.Members, args) },
		}
		for _, ph := range s.world.Phantoms() {
			w.Phantoms = append(w.Phantoms, trace.Phantom{HostPID: ph.HostPID, PID: ph.Member.PID, Member: ph.Member.Name})
		}
		var err error
		if s.recording, err = t.Watch(w); err != nil {
			r.untraced(err)
			return
		}
	}
}

func (r *run) untraced(err error) {
	gap := model.Gap{Object: "events", Detail: fmt.Sprintf("what the processes do in between is not recorded: %v", err)}
	if !slices.Contains(r.gaps, gap) { // an earlier round may have said so
		r.gaps = append(r.gaps, gap)
	}
}

// release lets a world run, and records its events from then on.
func (s *side) release() error {
	if s.recording == nil {
		return s.world.Release()
	}
	err := s.recording.Begin()
	rerr := s.world.Release()
	s.recording.Released(s.world.Released)
	if rerr != nil {
		return rerr
	}
	if err != nil {
		s.untold = append(s.untold, err.Error())
	}
	s.java = s.askJava()
	return nil
}

// happened takes over the events of a world, and tells of the attempts to leave
// it in their midst.
func (s *side) happened() {
	if s.recording == nil {
		return
	}
	s.untold = append(s.untold, s.java.finish()...)
	events, incomplete := s.recording.Finish()
	s.recording = nil
	for _, a := range s.seen.Attempts {
		e := model.Event{At: a.At, PID: a.PID, TID: a.TID, Member: a.Member, Kind: model.EventBlocked, Object: a.Op, Error: a.Answer, Stack: a.Stack}
		if a.Target != "" {
			e.Object += " " + a.Target
		}
		if a.Count > 1 {
			e.Count = a.Count
		}
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b model.Event) int { return cmp.Compare(a.At, b.At) })
	s.seen.Events = events
	s.untold = append(s.untold, incomplete...)
}

// endTrace stops all recording.
func (r *run) endTrace() error {
	if r.events == nil {
		return nil
	}
	err := r.events.Close()
	r.events = nil
	return err
}
