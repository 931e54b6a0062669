package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

// processes is a table of processes that the test controls.
type processes struct {
	mu    sync.Mutex
	start uint64 // of this process; 0 when it is gone
}

func (p *processes) startTime(int) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start == 0 {
		return 0, os.ErrNotExist
	}
	return p.start, nil
}

func open(t *testing.T) (*Store, *processes) {
	t.Helper()
	p := &processes{start: 77}
	s, err := Open(filepath.Join(t.TempDir(), "state", "pilot"), p.startTime)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func begin(t *testing.T, s *Store) *Run {
	t.Helper()
	r, err := s.Begin(model.Spec{Action: []string{"./recover.sh"}, Members: []model.Member{{Name: "a"}, {Name: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func finish(t *testing.T, r *Run) *Run {
	t.Helper()
	if err := r.Finish(&model.Report{Version: model.Version, Verdict: model.Verdict{Status: model.Pass, Reason: r.ID()}}); err != nil {
		t.Fatal(err)
	}
	return r
}

func statuses(t *testing.T, s *Store) map[string]string {
	t.Helper()
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, e := range entries {
		m[e.ID] = e.Status
	}
	return m
}

func TestDir(t *testing.T) {
	for _, tt := range []struct{ state, home, want string }{
		{"/s", "/h", "/s/pilot"},
		{"", "/h", "/h/.local/state/pilot"},
		{"relative", "/h", "/h/.local/state/pilot"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_STATE_HOME": tt.state, "HOME": tt.home}
		got, err := Dir(func(k string) string { return env[k] })
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: got %q, %v", tt, got, err)
		}
	}
}

func TestOpenSaysWhyItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "pilot"), StartTime)
	var hint *model.HintError
	if want := fmt.Sprintf("state directory %s/pilot: not a directory", file); !errors.As(err, &hint) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Open("/proc/pilot", StartTime); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestLifeOfARun(t *testing.T) {
	s, _ := open(t)
	if _, err := s.Load("latest"); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty: got %v", err)
	}
	r := begin(t, s)
	if got := statuses(t, s)[r.ID()]; got != Begun {
		t.Errorf("got %q", got)
	}
	if err := r.SetPhase("snapshot"); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(r.ID()[:4])
	if err != nil || e.Status != "snapshot" || !e.Running() || len(e.Members) != 2 || e.Action[0] != "./recover.sh" {
		t.Errorf("got %+v, %v", e, err)
	}
	if info, err := os.Stat(r.Work()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("work directory: %v, %v", info, err)
	}
	if _, err := s.Load(r.ID()); err == nil || !strings.Contains(err.Error(), "has no report, it is snapshot") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Remove(r.ID()); err == nil {
		t.Error("a run that goes on was removed")
	}
	finish(t, r)
	if _, err := os.Stat(r.Work()); err == nil {
		t.Error("the empty work directory is still there")
	}
	for _, name := range []string{"latest", r.ID(), r.ID()[:3], filepath.Base(r.dir)} {
		if got, err := s.Load(name); err != nil || got.ID != r.ID() {
			t.Errorf("load %s: %+v, %v", name, got, err)
		}
	}
	if got := statuses(t, s)[r.ID()]; got != "pass" {
		t.Errorf("got %q", got)
	}
	if id, err := s.Remove(r.ID()); err != nil || id != r.ID() {
		t.Errorf("remove: %q, %v", id, err)
	}
	if left, _ := filepath.Glob(s.dir + "/runs/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, latestLink)); err == nil {
		t.Error("latest points nowhere")
	}
}

func TestFailedRun(t *testing.T) {
	s, _ := open(t)
	r := begin(t, s)
	if err := r.Fail(errors.New("budget")); err != nil {
		t.Fatal(err)
	}
	if got := statuses(t, s)[r.ID()]; got != Failed {
		t.Errorf("got %q", got)
	}
	if _, err := s.Load(r.ID()); err == nil || !strings.HasSuffix(err.Error(), "has no report, it failed: budget") {
		t.Errorf("got %v", err)
	}
}

func TestRunOfADeadProcessIsAbandoned(t *testing.T) {
	s, p := open(t)
	r, done := begin(t, s), finish(t, begin(t, s))
	for name, start := range map[string]uint64{"gone": 0, "pid reused": 78} {
		p.start = start
		got := statuses(t, s)
		if got[r.ID()] != Abandoned || got[done.ID()] != "pass" {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if _, err := s.Remove(r.ID()); err != nil {
		t.Error(err)
	}
}

func TestRunWithoutStateIsAbandoned(t *testing.T) {
	s, _ := open(t)
	for name, state := range map[string]string{"20260101T000000Z-aaaaaa": "", "20260101T000001Z-bbbbbb": "{"} {
		dir := filepath.Join(s.runs(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if state != "" {
			_ = os.WriteFile(filepath.Join(dir, stateFile), []byte(state), 0o600)
		}
	}
	_ = os.WriteFile(filepath.Join(s.runs(), "stray"), nil, 0o600)
	if got := statuses(t, s); len(got) != 2 || got["aaaaaa"] != Abandoned || got["bbbbbb"] != Abandoned {
		t.Errorf("got %v", got)
	}
	if _, err := s.Remove("bbbb"); err != nil {
		t.Error(err)
	}
}

func TestFindIsNotGuessing(t *testing.T) {
	s, _ := open(t)
	for _, id := range []string{"abcaaa", "abdaaa"} {
		if err := os.Mkdir(filepath.Join(s.runs(), "20260101T000000Z-"+id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Find("ab"); err == nil || !strings.Contains(err.Error(), "could be any of abdaaa, abcaaa") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"x", "", "../runs"} {
		if _, err := s.Find(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("find %q: %v", name, err)
		}
	}
}

func TestLatestFollowsRemoval(t *testing.T) {
	s, _ := open(t)
	first, second := finish(t, begin(t, s)), finish(t, begin(t, s))
	if _, err := s.Remove("latest"); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Find("latest"); err != nil || e.ID != first.ID() {
		t.Errorf("got %+v, %v after removing %s", e, err, second.ID())
	}
}

func TestOldRunsArePruned(t *testing.T) {
	s, _ := open(t)
	live := begin(t, s)
	var runs []*Run
	for range 6 {
		runs = append(runs, finish(t, begin(t, s)))
	}
	// Within one millisecond the directories sort by their random ids.
	entries, _ := s.List()
	var oldest Entry
	for _, e := range entries {
		if e.ID != live.ID() {
			oldest = e
		}
	}
	if err := os.MkdirAll(filepath.Join(oldest.Work, "image"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.prune(3); err != nil {
		t.Fatal(err)
	}
	got := statuses(t, s)
	if len(got) != 5 || got[live.ID()] != Begun || got[oldest.ID] != "pass" {
		t.Errorf("of %d runs, %v are left", len(runs)+1, got)
	}
}

func TestOtherVersionIsRejected(t *testing.T) {
	s, _ := open(t)
	r := begin(t, s)
	if err := r.Finish(&model.Report{Version: 99}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load("latest"); err == nil || !strings.Contains(err.Error(), "its report has version 99, this pilot reads 1") {
		t.Errorf("got %v", err)
	}
}

func TestPilotsAtOnce(t *testing.T) {
	s, _ := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				r, err := s.Begin(model.Spec{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := r.Finish(&model.Report{Version: model.Version}); err != nil {
					t.Error(err)
				}
				if _, err := s.List(); err != nil {
					t.Error(err)
				}
				if err := s.prune(4); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left, _ := filepath.Glob(s.dir + "/.*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
