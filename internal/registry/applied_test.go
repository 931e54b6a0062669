package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/drift"
	"github.com/pilotexec/pilot/internal/model"
)

func TestFingerprint(t *testing.T) {
	store, err := Open(t.TempDir(), StartTime)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Begin(model.Spec{Action: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.Find(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Fingerprint(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	good := drift.Fingerprint{Version: drift.Version, UID: os.Getuid(), Env: []string{"SECRET=x"}}
	if err := r.Remember(good); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(e.Dir, fingerprintFile)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", fi.Mode(), err)
	}
	if f, err := e.Fingerprint(); err != nil || f.Run != r.ID() || f.Env[0] != "SECRET=x" {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, c := range []struct {
		name  string
		spoil func() error
		want  string
	}{
		{"another version", func() error { f := good; f.Version = 99; return r.Remember(f) }, "it has version 99"},
		{"another run's", func() error { f := good; f.Run = "other"; return write(path, f) }, `it is that of run "other"`},
		{"writable", func() error { return errors.Join(r.Remember(good), os.Chmod(path, 0o620)) }, "others may have written it"},
		{"another owner's", func() error {
			if os.Getuid() != 0 {
				f := good
				f.UID++
				return r.Remember(f)
			}
			return errors.Join(r.Remember(good), os.Chown(path, 4242, -1))
		}, "ran it"},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Fingerprint(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestApplied(t *testing.T) {
	e := Entry{Dir: t.TempDir()}
	if list, err := e.Applied(); err != nil || len(list) > 0 {
		t.Errorf("got %v, %v", list, err)
	}
	want := []Application{{PID: 1}, {PID: 2, Exit: &model.Exit{Code: 3}}}
	if err := e.SaveApplied(want); err != nil {
		t.Fatal(err)
	}
	if list, err := e.Applied(); err != nil || len(list) != 2 || list[1].Exit.Code != 3 || list[0].Exit != nil {
		t.Errorf("got %v, %v", list, err)
	}
	unlock, err := e.LockApply()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.LockApply(); !errors.Is(err, ErrApplying) {
		t.Errorf("got %v", err)
	}
	unlock()
	if unlock, err = e.LockApply(); err != nil {
		t.Fatal(err)
	}
	unlock()
}
