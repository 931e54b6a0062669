//go:build linux

package agent

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

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
		s.addLog([]byte(a.Output), "", "output of the action", func(int64) time.Duration { return 0 })
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
	from = max(from, fi.Size()-mostLog)
	text, _ := io.ReadAll(io.NewSectionReader(f, from, mostLog))
	s.addLog(text, member, source, func(offset int64) time.Duration { return s.watch.LogTime(path, from+offset) })
}

// addLog groups what is at least a warning. written tells when an offset of the
// text was, 0 where that is not known.
func (s *side) addLog(text []byte, member, source string, written func(offset int64) time.Duration) {
	var lines []string
	var offsets []int64
	offset := int64(0)
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		lines = append(lines, strings.ToValidUTF8(string(line), "?"))
		offsets = append(offsets, offset)
		offset += int64(len(line)) + 1
	}
	for i, line := range lines {
		s.match(line, member, source, func() time.Duration { return written(offsets[i]) })
	}
	for _, e := range loglines.Parse(lines) {
		if e.Level < loglines.Warning {
			continue
		}
		at := written(offsets[e.Line])
		if g := s.group(member, source, e); g != nil {
			g.Count++
			g.Last = at
			continue
		}
		s.seen.Logs = append(s.seen.Logs, model.LogGroup{
			Member: member, Source: source, Level: e.Level.String(), Template: e.Template, Count: 1,
			At: at, Last: at, First: append([]string{e.Text}, e.More...),
		})
	}
}

// match notes that a line matches a rule of the run's.
func (s *side) match(line, member, source string, at func() time.Duration) {
	for _, re := range s.logRules {
		if !re.MatchString(line) {
			continue
		}
		pattern := re.String()
		i := slices.IndexFunc(s.seen.LogMatches, func(m model.LogMatch) bool { return m.Pattern == pattern })
		if i < 0 {
			i = len(s.seen.LogMatches)
			s.seen.LogMatches = append(s.seen.LogMatches, model.LogMatch{Pattern: pattern, Member: member, Source: source, First: line, At: at()})
		}
		s.seen.LogMatches[i].Count++
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
