package verdict

import (
	"fmt"

	"github.com/pilotexec/pilot/internal/model"
)

// recordsLost judges what the stores of known systems hold at the end.
//
// Compaction, snapshots and the rotation of logs make files shorter, and lose
// nothing. So it is the systems' own measures that count. A position in a log
// must not go back. A number may become smaller when there are as many deletions
// on record; where nobody knows whether it was deleted or lost it is a warning.
// Members of one store are replicas: what the best of them has is not lost.
func recordsLost(o model.Observation) (found []model.Finding) {
	for _, s := range replicated(o.Trial) {
		var lost []loss
		for _, f := range s.figures() {
			if l, ok := s.judge(o, f); ok {
				lost = append(lost, l)
			}
		}
		if len(lost) > 0 {
			found = append(found, s.finding(lost))
			continue
		}
		found = append(found, s.behind(o)...)
	}
	return found
}

// A data is the replicas of one store.
type data struct {
	system, name string
	replicas     []model.Store
}

func (d data) String() string {
	if d.name == "" {
		return d.system
	}
	return d.system + " " + d.name
}

// replicated groups the stores of a world, in their order.
func replicated(w model.World) (out []data) {
	for _, s := range w.Stores {
		at := -1
		for i := range out {
			if out[i].system == s.System && out[i].name == s.Name {
				at = i
			}
		}
		if at < 0 {
			at, out = len(out), append(out, data{system: s.System, name: s.Name})
		}
		out[at].replicas = append(out[at].replicas, s)
	}
	return out
}

// figures are those that any replica has, each with the most before and after.
func (d data) figures() (out []model.Figure) {
	at := map[string]int{}
	for _, s := range d.replicas {
		for _, f := range s.Figures {
			i, known := at[f.Name]
			if !known {
				at[f.Name] = len(out)
				out = append(out, f)
				continue
			}
			out[i].Before, out[i].After = max(out[i].Before, f.Before), max(out[i].After, f.After)
			if f.Kind == model.FigureEstimate {
				out[i].Kind = f.Kind
			}
		}
	}
	return out
}

// in finds the same data in another world.
func (d data) in(w model.World) (data, bool) {
	for _, other := range replicated(w) {
		if other.system == d.system && other.name == d.name {
			return other, true
		}
	}
	return data{}, false
}

// A loss is a figure that went back.
type loss struct {
	model.Figure
	severity model.Severity
	why      string // it may be no loss
	control  string
}

// judge compares a figure of the trial with its past and with the control. What
// the control has lost as well was not lost by the action; a store that did not
// change there lost nothing.
func (d data) judge(o model.Observation, f model.Figure) (loss, bool) {
	l := loss{Figure: f, severity: model.Error, control: "did not change"}
	gone := f.Before - f.After
	c, ok := d.in(o.Control)
	if !ok && len(o.Control.Incomplete) > 0 {
		l.severity, l.control = model.Unproven, "not looked at"
	}
	if ok {
		for _, cf := range c.figures() {
			if cf.Name == f.Name {
				l.control = change64(cf)
				gone -= max(0, cf.Before-cf.After)
			}
		}
	}
	if gone <= 0 || f.Kind == model.FigureDeleted {
		return l, false
	}
	if severity, why := d.excuse(f, gone); f.Kind != model.FigurePosition && rank(severity) > rank(l.severity) {
		l.severity, l.why = severity, why
	}
	return l, true
}

// excuse says how grave it is that a number became smaller by gone.
func (d data) excuse(f model.Figure, gone int64) (model.Severity, string) {
	for _, other := range d.figures() {
		switch {
		case other.Kind == model.FigureDeleted && other.After-other.Before >= gone:
			return model.Warning, fmt.Sprintf("%d deletions are on record", other.After-other.Before)
		case other.Kind == model.FigureDeleted && other.After < other.Before && f.After > 0:
			return model.Warning, "the record of deletions was begun anew, so they may have been deleted"
		case d.system == "etcd" && other.Name == "revision" && other.After > other.Before:
			return model.Warning, fmt.Sprintf("the revision went on from %d to %d, so they were deleted", other.Before, other.After)
		}
	}
	switch {
	case f.Kind == model.FigureEstimate:
		return model.Warning, "they may have expired, been deleted or compacted"
	case f.After == 0 || d.records("deletions"):
		return model.Error, ""
	}
	return model.Warning, "they may have been deleted"
}

// records reports whether any replica has a figure.
func (d data) records(name string) bool {
	for _, f := range d.figures() {
		if f.Name == name {
			return true
		}
	}
	return false
}

func change64(f model.Figure) string {
	if f.Before == f.After {
		return fmt.Sprintf("%s %d, as before", f.Name, f.After)
	}
	return fmt.Sprintf("%s %d, then %d", f.Name, f.Before, f.After)
}

// finding tells of all losses of the data, with each replica's figures.
func (d data) finding(lost []loss) model.Finding {
	worst := lost[0]
	for _, l := range lost {
		if rank(l.severity) < rank(worst.severity) {
			worst = l
		}
	}
	f := model.Finding{
		Rule: "records-lost", Severity: worst.severity,
		Message: fmt.Sprintf("%s: %s went back from %d to %d", d, worst.Name, worst.Before, worst.After),
		Control: worst.control,
	}
	if worst.Kind != model.FigurePosition {
		f.Message = fmt.Sprintf("%s: %d %s before the action, %d after it", d, worst.Before, worst.Name, worst.After)
	}
	if worst.why != "" {
		f.Message += "; " + worst.why
	}
	if len(d.replicas) == 1 {
		f.Member = d.replicas[0].Member
	}
	for _, l := range lost {
		for _, s := range d.replicas {
			for _, figure := range s.Figures {
				if figure.Name == l.Name && len(f.Evidence) < 2*maxQuotes {
					f.Evidence = append(f.Evidence, model.Evidence{Source: "file", Text: s.Path + ": " + change64(figure)})
				}
			}
		}
	}
	return f
}

// behind warns of members that lost something while another has as much: it is
// still there if they are replicas, and not if each has keys of its own.
func (d data) behind(o model.Observation) (found []model.Finding) {
	control, _ := d.in(o.Control)
	for _, s := range d.replicas {
		for _, f := range s.Figures {
			if f.After >= f.Before || control.fell(s.Member, f.Name) || !d.alone(s).lost(f) {
				continue
			}
			found = append(found, model.Finding{
				Rule: "records-behind", Severity: model.Warning, Member: s.Member,
				Message:  fmt.Sprintf("%s: %s of %s went back from %d to %d; another member has as much", d, f.Name, s.Member, f.Before, f.After),
				Evidence: []model.Evidence{{Source: "file", Text: s.Path + ": " + change64(f)}},
				Control:  "it did not go back",
			})
		}
	}
	return found
}

// alone is the data as one member has them.
func (d data) alone(s model.Store) data {
	return data{system: d.system, name: d.name, replicas: []model.Store{s}}
}

// lost reports whether a figure that fell is a loss.
func (d data) lost(f model.Figure) bool {
	if f.Kind == model.FigurePosition {
		return true
	}
	severity, _ := d.excuse(f, f.Before-f.After)
	return f.Kind == model.FigureCount && severity == model.Error
}

// fell reports whether a figure of a member went back.
func (d data) fell(member, name string) bool {
	for _, s := range d.replicas {
		for _, f := range s.Figures {
			if s.Member == member && f.Name == name && f.After < f.Before {
				return true
			}
		}
	}
	return false
}

// storeDifferences are the rows of the figures that the worlds have otherwise.
func storeDifferences(o model.Observation) (rows []model.Difference) {
	for _, r := range records(o) {
		rows = append(rows, r.Difference)
	}
	return rows
}

func records(o model.Observation) (rows []Record) {
	for _, d := range replicated(o.Trial) {
		for _, f := range d.figures() {
			row := model.Difference{What: fmt.Sprintf("%s of %s", f.Name, d), Trial: fromTo(f), Control: fmt.Sprint(f.Before)}
			if c, ok := d.in(o.Control); ok {
				for _, cf := range c.figures() {
					if cf.Name == f.Name {
						row.Control = fromTo(cf)
					}
				}
			}
			if row.Trial != row.Control && f.Kind != model.FigureDeleted {
				rows = append(rows, Record{row, f.After < f.Before})
			}
		}
	}
	return rows
}

func fromTo(f model.Figure) string {
	if f.Before == f.After {
		return fmt.Sprint(f.After)
	}
	return fmt.Sprintf("%d, then %d", f.Before, f.After)
}
