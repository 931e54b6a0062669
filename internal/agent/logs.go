//go:build linux

package agent

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/loglines"
	"github.com/pilotexec/pilot/internal/model"
)

// mostLog is how much of one log is read, in bytes: its end.
const mostLog = 4 << 20

// logFile matches the names of files in data directories that are logs. Others,
// such as write-ahead logs, are not text.
var logFile = regexp.MustCompile(`(?i)(\.(log|out|err)(\.\d+)?|(^|/)(stdout|stderr))$`)

// outputs reads what phantoms and the action have written to their terminals. The
// world must not be closed yet.
func (s *side) outputs() {
	for _, m := range s.world.Members() {
		s.readLog(s.world.Log(m.Name), 0, m.Name, "output")
	}
	if a := s.seen.Action; a != nil {
		s.addLog(a.Output, "", "output of the action")
	}
}

// logs reads what was added to logs in data directories.
func (s *side) logs(tree *image.Tree, changes []model.FileChange) {
	for _, c := range changes {
		if c.Sign == "-" || !logFile.MatchString(c.Path) {
			continue
		}
		from := c.Old
		if c.New < c.Old {
			from = 0 // begun anew
		}
		for _, r := range tree.Roots {
			if rel, err := filepath.Rel(r.Source, c.Path); err == nil && filepath.IsLocal(rel) {
				s.readLog(filepath.Join(r.Path, rel), from, c.Member, c.Path)
			}
		}
	}
}

// readLog reads a log from an offset on. One that cannot be read says nothing.
func (s *side) readLog(path string, from int64, member, source string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return
	}
	text, _ := io.ReadAll(io.NewSectionReader(f, max(from, fi.Size()-mostLog), mostLog))
	s.addLog(string(text), member, source)
}

// addLog groups what is at least a warning.
func (s *side) addLog(text, member, source string) {
	for _, e := range loglines.Parse(strings.Split(strings.ToValidUTF8(text, "?"), "\n")) {
		if e.Level < loglines.Warning {
			continue
		}
		if g := s.group(member, source, e); g != nil {
			g.Count++
			continue
		}
		s.seen.Logs = append(s.seen.Logs, model.LogGroup{
			Member: member, Source: source, Level: e.Level.String(), Template: e.Template, Count: 1,
			First: append([]string{e.Text}, e.More...),
		})
	}
}

func (s *side) group(member, source string, e loglines.Entry) *model.LogGroup {
	for i := range s.seen.Logs {
		if g := &s.seen.Logs[i]; g.Template == e.Template && g.Member == member && g.Source == source && g.Level == e.Level.String() {
			return g
		}
	}
	return nil
}
