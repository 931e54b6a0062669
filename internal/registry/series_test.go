package registry

import (
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

// inSeries records a series of runs that began at the same time.
func inSeries(t *testing.T, s *Store, n int) (ids []string) {
	t.Helper()
	first := begin(t, s)
	started := time.Now()
	for i := range n {
		report := &model.Report{Version: model.Version, Started: started, Part: &model.Part{Series: first.ID(), Number: i + 1, Of: n},
			Spec: model.Spec{Action: []string{"./other.sh"}}, Verdict: model.Verdict{Status: model.Pass}}
		r := first
		if i > 0 {
			var err error
			if r, err = first.Next(report, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Finish(report); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID())
	}
	return ids
}

func TestRunsOfASeriesAreListedInOrder(t *testing.T) {
	s, _ := open(t)
	ids := inSeries(t, s, 4)
	entries, err := s.List()
	if err != nil || len(entries) != 4 {
		t.Fatalf("%+v, %v", entries, err)
	}
	for i, e := range entries {
		want := 3 - i // the newest is first
		if e.ID != ids[want] || e.Part == nil || e.Part.Number != want+1 || e.Part.Series != ids[0] || e.Leftovers() {
			t.Errorf("entry %d: %+v, part %+v", i, e, e.Part)
		}
		if r, err := s.Load(e.ID); err != nil || r.ID != e.ID || r.Part == nil || *r.Part != *e.Part {
			t.Errorf("report of %s: %+v, %v", e.ID, r, err)
		}
	}
	if e, err := s.Find("latest"); err != nil || e.ID != ids[3] {
		t.Errorf("latest is %+v, %v", e, err)
	}
}

func TestASeriesIsPrunedAsOne(t *testing.T) {
	s, _ := open(t)
	old := inSeries(t, s, 3)
	time.Sleep(5 * time.Millisecond) // directories sort by milliseconds
	finish(t, begin(t, s))
	time.Sleep(5 * time.Millisecond)
	kept := inSeries(t, s, 3)
	if err := s.prune(2); err != nil {
		t.Fatal(err)
	}
	got := statuses(t, s)
	for _, id := range old {
		if got[id] != "" {
			t.Errorf("run %s of the oldest series is left: %v", id, got)
		}
	}
	for _, id := range kept {
		if got[id] != "pass" {
			t.Errorf("run %s of the newest series is gone: %v", id, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("left: %v", got)
	}
}

// TestSavedEventsStay: a series' first run is saved with its events long before it is
// finished without them.
func TestSavedEventsStay(t *testing.T) {
	s, _ := open(t)
	r := begin(t, s)
	report := &model.Report{Version: model.Version, Verdict: model.Verdict{Status: model.Pass}}
	report.Trial.Events = []model.Event{{PID: 7, Kind: model.EventWrite}}
	if err := r.Save(report); err != nil {
		t.Fatal(err)
	}
	if got := statuses(t, s)[r.ID()]; got != Begun {
		t.Errorf("a saved run is %s", got)
	}
	report.Trial.Events = nil
	finish(t, r)
	got, err := s.Load(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LoadEvents(got); err != nil || len(got.Trial.Events) != 1 {
		t.Errorf("events %+v, %v", got.Trial.Events, err)
	}
}
