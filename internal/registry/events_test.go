package registry

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestEventsAreBesideTheReport(t *testing.T) {
	s, _ := open(t)
	r := begin(t, s)
	report := &model.Report{Version: model.Version, Verdict: model.Verdict{Status: model.Pass}}
	for i := range 1000 {
		report.Trial.Events = append(report.Trial.Events, model.Event{PID: i, Kind: model.EventWrite, Object: "/a\nb", Stack: []string{"main.main"}})
	}
	if err := r.Finish(report); err != nil {
		t.Fatal(err)
	}
	if len(report.Trial.Events) != 1000 {
		t.Error("the caller's report was changed")
	}
	if text, err := os.ReadFile(filepath.Join(r.dir, reportFile)); err != nil || strings.Contains(string(text), "main.main") {
		t.Errorf("events are in the report, %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(r.dir, "*events*")); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
	got, err := s.Load(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LoadEvents(got); err != nil || !reflect.DeepEqual(got.Trial.Events, report.Trial.Events) || got.Control.Events != nil {
		t.Errorf("got %d and %d events, %v", len(got.Trial.Events), len(got.Control.Events), err)
	}
}

func TestDamagedEventsAreAnError(t *testing.T) {
	s, _ := open(t)
	r := finish(t, begin(t, s))
	report, err := s.Load(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := writeEvents(filepath.Join(r.dir, eventsFile("trial")), make([]model.Event, 100)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, eventsFile("trial"))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, len(text) / 2, len(text) - 1} {
		if err := os.WriteFile(path, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.LoadEvents(report); err == nil || !strings.Contains(err.Error(), "load events of the trial of run "+r.ID()) {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
}
