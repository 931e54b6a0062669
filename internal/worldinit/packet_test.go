//go:build linux

package worldinit

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func requests() []request {
	return []request{
		{Config: &Config{Label: "trial", Binds: []Bind{{"/a", "/b"}}, ScratchSize: 1 << 20, Addresses: []string{"10.0.0.1/32"}, DropCaps: []int{21}}},
		{Layers: []string{"/", "/home"}},
		{Filter: true},
		{Clock: &clock{-time.Second, time.Hour}},
		{Start: &start{1, []string{"sh", "-c", "true"}, []string{"A=b"}, "/", true}},
		{Kill: 4711},
	}
}

func TestParseRequest(t *testing.T) {
	for _, r := range requests() {
		got, err := parseRequest(encoded(t, r))
		if err != nil || !bytes.Equal(encoded(t, got), encoded(t, r)) {
			t.Errorf("%s: %s, %v", encoded(t, r), encoded(t, got), err)
		}
	}
	for _, text := range []string{``, `{}`, `[]`, `{"Kill":-1}`, `{"Start":{}}`, `{"Start":{"Args":[]}}`, `{"Kill":1,"Clock":{}}`} {
		if r, err := parseRequest([]byte(text)); err == nil {
			t.Errorf("%s: no error, but %s", text, encoded(t, r))
		}
	}
}

func TestParseEvent(t *testing.T) {
	for _, kind := range []string{"ready", "started", "fork", "exec", "exit", "failed"} {
		if e, err := parseEvent(encoded(t, Event{Kind: kind, PID: 7})); err != nil || e.PID != 7 {
			t.Errorf("%s: %+v, %v", kind, e, err)
		}
	}
	for _, text := range []string{``, `{}`, `{"Kind":"gone"}`, `{"Kind":1}`} {
		if _, err := parseEvent([]byte(text)); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range requests() {
		f.Add(encoded(f, r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		again, err := parseRequest(encoded(t, r))
		if err != nil || !bytes.Equal(encoded(t, again), encoded(t, r)) {
			t.Errorf("%s comes out as %s, %v", encoded(t, r), encoded(t, again), err)
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add(encoded(f, Event{Kind: "exit", PID: 50, Parent: 49, Code: 1, Signal: "SIGSEGV", At: time.Unix(1, 2)}))
	f.Add(encoded(f, Event{Kind: "exec", Args: []string{"sh", ""}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEvent(b)
		if err != nil {
			return
		}
		if again, err := parseEvent(encoded(t, e)); err != nil || !bytes.Equal(encoded(t, again), encoded(t, e)) {
			t.Errorf("%s comes out as %s, %v", encoded(t, e), encoded(t, again), err)
		}
	})
}

func FuzzPassed(f *testing.F) {
	f.Add(unix.UnixRights(3))
	f.Add(append(unix.UnixRights(3, 4), unix.UnixRights(5)...))
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Fuzz(func(t *testing.T, oob []byte) {
		before := slices.Clone(oob)
		if fds := passed(oob); 4*len(fds) > len(oob) {
			t.Errorf("%d descriptors in %d bytes", len(fds), len(oob))
		}
		if !bytes.Equal(oob, before) {
			t.Error("the input was changed")
		}
	})
}
