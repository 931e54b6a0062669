package control

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/live"
)

// deep is a directory whose path does not fit sun_path.
func deep(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAsk(t *testing.T) {
	dir := deep(t)
	got := make(chan live.Request, 1)
	s, err := Listen(dir, func(r live.Request) live.Answer {
		got <- r
		if r.Verb == live.VerbStop {
			return live.Answer{Error: "too late"}
		}
		return live.Answer{Text: "well", Status: &live.Status{Phase: "act"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(filepath.Join(dir, name))
	if err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v (%v)", fi.Mode(), err)
	}
	a, err := Ask(t.Context(), dir, live.Request{Verb: live.VerbExtend, By: 5})
	if err != nil || a.Text != "well" || a.Status.Phase != "act" {
		t.Errorf("answer %+v (%v)", a, err)
	}
	if r := <-got; r.Verb != live.VerbExtend || r.By != 5 {
		t.Errorf("asked %+v", r)
	}
	if _, err := Ask(t.Context(), dir, live.Request{Verb: live.VerbStop}); err == nil || err.Error() != "too late" {
		t.Errorf("error %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Ask(t.Context(), dir, live.Request{}); !errors.Is(err, ErrNobody) {
		t.Errorf("error %v, want nobody", err)
	}
}

// TestNonsense wants an answer for what is no request, and the next to be heard.
func TestNonsense(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir, func(live.Request) live.Answer { return live.Answer{Text: "well"} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{"hello\n", "{\"verb\":1}\n", strings.Repeat("x", mostRequest+1)} {
		conn, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var a live.Answer
		if err := json.NewDecoder(conn).Decode(&a); err != nil || a.Error == "" {
			t.Errorf("%.10q: answer %+v (%v)", text, a, err)
		}
		_ = conn.Close()
	}
	if _, err := Ask(t.Context(), dir, live.Request{}); err != nil {
		t.Error(err)
	}
}

// TestCloseDoesNotWait for who connects and says nothing.
func TestCloseDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	s, err := Listen(dir, func(live.Request) live.Answer { return live.Answer{} })
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as if the run had died
	if _, err := Ask(t.Context(), dir, live.Request{}); !errors.Is(err, ErrNobody) {
		t.Errorf("error %v, want nobody", err)
	}
	for range 2 {
		if err := Sweep(dir); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAllow(t *testing.T) {
	for _, c := range []struct {
		uid, own int
		ok       bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {0, 0, true}} {
		if err := allow(c.uid, c.own); (err == nil) != c.ok {
			t.Errorf("user %d at a run of %d: %v", c.uid, c.own, err)
		}
	}
}
