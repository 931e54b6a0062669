//go:build linux

package membertest

import (
	"io"
	"strings"
	"testing"

	"github.com/pilotexec/pilot/internal/live"
	"github.com/pilotexec/pilot/internal/victim"
)

// TestPrivContainerShell types to a shell in worlds of containers, whose root is
// not the host's, and whose processes have numbers of their own.
func TestPrivContainerShell(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  container
		first bool
	}{{"rootless", rootless, true}, {"rootmade", rootmade, false}, {"mapped", mapped, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := contain(t, c.kind, c.first, member{"member", victim.Identity{}})
			// Job control must be there, and the terminal be its own to open.
			o := s.agent(t, request{
				Action: []string{"/bin/sh", "-i"},
				Typed:  "tty; echo op'ened' > /dev/tty; stat -c '%U %F' `tty`\nexit\n",
			})
			if len(o.Problems) > 0 || o.Report == nil {
				t.Fatalf("run: %v", o.Problems)
			}
			a := o.Report.Trial.Action
			for _, want := range []string{"/dev/pts/0\n", "opened\n", "root character special file\n"} {
				if !a.OK() || !strings.Contains(a.Output, want) {
					t.Errorf("no %q in %+v", want, a)
				}
			}
			if strings.Contains(a.Output, "job control") { // turned off
				t.Errorf("the shell says %q", a.Output)
			}
			s.wantAlive(t)
		})
	}
}

// A script is a terminal at which a text is typed.
type script struct {
	keys *io.PipeReader
	hand *io.PipeWriter
}

func newScript(text string) *script {
	s := &script{}
	s.keys, s.hand = io.Pipe()
	go func() { _, _ = io.WriteString(s.hand, text) }()
	return s
}

func (s *script) Attach(resize func(live.Size)) (live.Session, error) {
	resize(live.Size{Rows: 24, Cols: 80})
	return s, nil
}
func (s *script) Resized(live.Size)           {}
func (s *script) Read(b []byte) (int, error)  { return s.keys.Read(b) }
func (s *script) Write(b []byte) (int, error) { return len(b), nil }
func (s *script) Detach() error               { return s.keys.Close() }
