package records

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// A Pair is one path below a data directory: the file of the snapshot, and that
// of a world at its end. One that is missing is nil. Where nothing changed both
// are the same file.
type Pair struct {
	Path, Member  string
	Before, After *File
}

func (p Pair) changed() bool { return p.Before != p.After }

// Describe says what became of a changed file: of its records, or of its text.
func Describe(p Pair, b *Budget) (meaning, diff string, lost int64) {
	before, after := lookAt(p.Before, b), lookAt(p.After, b)
	if before != nil || after != nil {
		return Meaning(before, after), "", Lost(before, after)
	}
	return "", Diff(p.Before, p.After, b), 0
}

func lookAt(f *File, b *Budget) *Content {
	if f == nil {
		return nil
	}
	if c, ok := Look(*f, b); ok {
		return &c
	}
	return nil
}

// replica is the store of one member.
type replica struct {
	Store
	member string
}

// A Surveyor compares the stores of one snapshot with those of several worlds, and
// reads what the snapshot has of them once.
type Surveyor struct{ known map[replica][]Figure }

// Survey compares the stores of which a file changed, on any member. A replica
// that did not change is told of too: it may have what another lost. What was
// too much to read is left out, and named.
func (v *Surveyor) Survey(pairs []Pair, b *Budget) (stores []model.Store, left []string) {
	all := map[replica][]Pair{}
	touched := map[Store]bool{}
	for _, p := range pairs {
		s, ok := StoreOf(p.Path)
		if !ok {
			continue
		}
		at := replica{s, p.Member}
		all[at] = append(all[at], p)
		touched[s] = touched[s] || p.changed()
	}
	var order []replica
	for r := range all {
		if touched[r.Store] {
			order = append(order, r)
		}
	}
	slices.SortFunc(order, func(a, b replica) int {
		return cmp.Or(cmp.Compare(a.System, b.System), cmp.Compare(a.Name, b.Name), cmp.Compare(a.member, b.member))
	})
	for _, r := range order {
		figures, whole := v.compare(r, all[r], b)
		if !whole {
			left = append(left, strings.TrimSpace(r.String()+" "+r.member))
		}
		if len(figures) > 0 {
			stores = append(stores, model.Store{System: r.System, Name: r.Name, Member: r.member, Path: commonDir(all[r]), Figures: figures})
		}
	}
	return stores, left
}

// original reads a store of the snapshot.
func (v *Surveyor) original(r replica, files []File, b *Budget) (figures []Figure, whole bool) {
	if figures, ok := v.known[r]; ok {
		return figures, true
	}
	figures, whole = r.Read(files, b)
	if whole {
		if v.known == nil {
			v.known = map[replica][]Figure{}
		}
		v.known[r] = figures
	}
	return figures, whole
}

// compare reads a store as it was, and as it is.
func (v *Surveyor) compare(r replica, pairs []Pair, b *Budget) (out []model.Figure, whole bool) {
	var before, after []File
	changed := false
	for _, p := range pairs {
		if p.Before != nil {
			before = append(before, *p.Before)
		}
		if p.After != nil {
			after = append(after, *p.After)
		}
		changed = changed || p.changed()
	}
	old, oldWhole := v.original(r, before, b)
	now, nowWhole := old, oldWhole
	if changed {
		now, nowWhole = r.Read(after, b)
	}
	for _, f := range old {
		value, ok := valueOf(now, f.Name)
		if ok || nowWhole { // what is not there any more is 0
			out = append(out, model.Figure{Name: f.Name, Kind: kindOf(f, now), Before: f.Value, After: value})
		}
	}
	for _, f := range now {
		if _, ok := valueOf(old, f.Name); !ok && oldWhole {
			out = append(out, model.Figure{Name: f.Name, Kind: f.Kind, After: f.Value})
		}
	}
	return out, oldWhole && nowWhole
}

func valueOf(figures []Figure, name string) (int64, bool) {
	for _, f := range figures {
		if f.Name == name {
			return f.Value, true
		}
	}
	return 0, false
}

// kindOf is the weaker kind of f before and after: a count may become an estimate.
func kindOf(f Figure, now []Figure) string {
	for _, n := range now {
		if n.Name == f.Name && n.Kind == model.FigureEstimate {
			return n.Kind
		}
	}
	return f.Kind
}

// commonDir is the directory that holds all files of a store.
func commonDir(pairs []Pair) string {
	dir := path.Dir(pairs[0].Path)
	for _, p := range pairs[1:] {
		for dir != "/" && dir != "." && !strings.HasPrefix(p.Path, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}
