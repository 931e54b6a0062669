package registry

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pilotexec/pilot/internal/model"
)

// eventsFile is where the events of a world are, beside the report. There may be
// hundreds of thousands of them, and most readers of a report want none.
func eventsFile(world string) string { return world + ".events.jsonl.gz" }

// worlds names the worlds of r. Their names are not taken from a text.
func worlds(r *model.Report) map[string]*model.World {
	return map[string]*model.World{"trial": &r.Trial, "control": &r.Control}
}

// saveEvents stores the events of both worlds in dir, one a line, compressed. No
// events make no file.
func saveEvents(dir string, r *model.Report) error {
	for name, w := range worlds(r) {
		if len(w.Events) == 0 {
			continue
		}
		if err := writeEvents(filepath.Join(dir, eventsFile(name)), w.Events); err != nil {
			return fmt.Errorf("store events of the %s: %w", name, err)
		}
	}
	return nil
}

// writeEvents replaces path by events at once.
func writeEvents(path string, events []model.Event) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	// The fastest level makes a tenth of them; better ones gain little more.
	zip, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	out := bufio.NewWriter(zip)
	enc := json.NewEncoder(out)
	for i := range events {
		if err := enc.Encode(&events[i]); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(out.Flush(), zip.Close(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// LoadEvents reads the events of r, which [Store.Load] has read, and puts them
// into its worlds. A run that recorded none has none.
func (s *Store) LoadEvents(r *model.Report) error {
	e, err := s.Find(r.ID)
	if err != nil {
		return err
	}
	for name, w := range worlds(r) {
		events, err := readEvents(filepath.Join(e.Dir, eventsFile(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("load events of the %s of run %s: %w", name, e.ID, err)
		}
		if err == nil {
			w.Events = events
		}
	}
	return nil
}

func readEvents(path string) (events []model.Event, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, err
	}
	for dec := json.NewDecoder(zip); ; {
		var e model.Event
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return events, nil
		case err != nil:
			return nil, err
		}
		events = append(events, e)
	}
}
