package registry

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzState lists, finds and loads a run with any state and any report. The
// directory that gc empties must be the run's own, whatever the state says.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{}`), []byte(`{}`))
	f.Add([]byte(`{"phase":"failed","error":"x","work":"/"}`), []byte(`null`))
	f.Add([]byte(`[`), []byte(`{"version":1,"pause":{"total_ns":-1}}`))
	f.Fuzz(func(t *testing.T, state, report []byte) {
		top := t.TempDir()
		s, err := Open(top, func(int) (uint64, error) { return 1, nil })
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(s.runs(), "20260101T000000-abcdef")
		for name, text := range map[string][]byte{stateFile: state, reportFile: report} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := s.List()
		if err != nil || len(entries) != 1 {
			t.Fatalf("list: %+v, %v", entries, err)
		}
		e := entries[0]
		if e.Dir != dir || e.Work != filepath.Join(dir, workDir) || e.Status == "" && e.Phase != Finished && e.Phase != "" {
			t.Errorf("entry %+v", e)
		}
		found, err := s.Find(filepath.Base(dir))
		if err != nil || found.Dir != dir {
			t.Errorf("find: %+v, %v", found, err)
		}
		if r, err := s.Load(filepath.Base(dir)); (r == nil) == (err == nil) {
			t.Errorf("load: %+v, %v", r, err)
		}
	})
}

func FuzzMountPoint(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue")
	f.Add(`29 1 0:26 / /mnt/a\040b\134c rw - tmpfs tmpfs rw`)
	f.Fuzz(func(_ *testing.T, line string) { _ = mountPoint(line) })
}
