//go:build linux

package agent

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/image"
	"github.com/pilotexec/pilot/internal/model"
	"github.com/pilotexec/pilot/internal/records"
)

// What is read of one world's data to say what is in them. It is not production's
// time that it takes, but the user's.
const (
	recordBytes  = 256 << 20 // of stores, and as much of single files
	recordTime   = 5 * time.Second
	mostMeanings = 500      // files that are described
	mostDiffs    = 64 << 10 // bytes of all diffs together
	mostStored   = 20000    // files of all stores
)

// originals are the files of the image by their path, and what their stores have.
type originals struct {
	files map[string]image.Original
	records.Surveyor
}

func (r *run) originals() *originals {
	all := map[string]image.Original{}
	for _, o := range r.image.Originals() {
		all[o.Path] = o
	}
	return &originals{files: all}
}

// meanings says of each change of a world what it means, and what became of the
// stores. The result tells what was left out.
func (s *side) meanings(ctx context.Context, r *round, old *originals, tree *image.Tree, files []model.FileChange) (left []string) {
	f := openFiles{}
	defer f.close()
	pairs := r.stored(old, tree, files, &f)
	if len(pairs) > mostStored {
		left = append(left, fmt.Sprintf("stores of %d files", len(pairs)))
		pairs = nil
	}
	stores, unread := old.Survey(pairs, budget(ctx))
	s.seen.Stores = stores
	for _, name := range unread {
		left = append(left, "parts of "+name)
	}
	b, diffs, described := budget(ctx), 0, 0
	for i := range files {
		c := &files[i]
		if described == mostMeanings || b.Bytes <= 0 {
			left = append(left, fmt.Sprintf("%d changed files", len(files)-i))
			break
		}
		p := pairOf(*c, old, tree, &f)
		if p.Before == nil && p.After == nil {
			continue // no regular file
		}
		described++
		meaning, diff, lost := records.Describe(p, b)
		c.Meaning, c.Lost = meaning, lost
		if logFile.MatchString(c.Path) || diffs+len(diff) > mostDiffs {
			continue
		}
		c.Diff = diff
		diffs += len(diff)
	}
	return left
}

// leftOut adds a gap for what of the data was not looked into.
func (s *side) leftOut(left []string) {
	if len(left) == 0 {
		return
	}
	more := ""
	if len(left) > 5 {
		more = fmt.Sprintf(" and %d more", len(left)-5)
		left = left[:5]
	}
	s.gaps = append(s.gaps, model.Gap{Object: "records", Detail: fmt.Sprintf("too much to read in the %s, so not looked for losses: %s%s", s.seen.Name, strings.Join(left, ", "), more)})
}

func budget(ctx context.Context) *records.Budget {
	end := time.Now().Add(recordTime)
	return &records.Budget{Bytes: recordBytes, Stop: func() bool { return ctx.Err() != nil || time.Now().After(end) }}
}

// stored pairs all files that belong to stores: those of the image, and those
// that are new.
func (r *run) stored(old *originals, tree *image.Tree, files []model.FileChange, open *openFiles) (pairs []records.Pair) {
	changed := map[string]bool{}
	for _, c := range files {
		changed[c.Path] = true
		if _, ok := records.StoreOf(c.Path); ok {
			pairs = append(pairs, pairOf(c, old, tree, open))
		}
	}
	for path, o := range old.files {
		if _, ok := records.StoreOf(path); ok && !changed[path] {
			f := open.original(o)
			pairs = append(pairs, records.Pair{Path: path, Member: r.memberOf(path), Before: f, After: f})
		}
	}
	return pairs
}

// pairOf is a changed file before and after.
func pairOf(c model.FileChange, old *originals, tree *image.Tree, open *openFiles) records.Pair {
	p := records.Pair{Path: c.Path, Member: c.Member}
	if o, ok := old.files[c.Path]; ok {
		p.Before = open.original(o)
	}
	if c.Sign != "-" {
		p.After = open.copy(c.Path, tree.Copy(c.Path))
	}
	return p
}

// openFiles opens files when they are read, and keeps few of them open.
type openFiles struct{ open []*lazyFile }

const mostOpen = 64

// A lazyFile is opened when it is first read.
type lazyFile struct {
	files  *openFiles
	how    func() (*os.File, error)
	opened *os.File
}

// ReadAt opens the file if need be.
func (l *lazyFile) ReadAt(p []byte, off int64) (int, error) {
	if l.opened == nil {
		f, err := l.how()
		if err != nil {
			return 0, err
		}
		l.opened = f
		l.files.keep(l)
	}
	return l.opened.ReadAt(p, off)
}

func (f *openFiles) keep(l *lazyFile) {
	if len(f.open) == mostOpen {
		f.open[0].close()
		f.open = slices.Delete(f.open, 0, 1)
	}
	f.open = append(f.open, l)
}

func (l *lazyFile) close() {
	_ = l.opened.Close() // it was only read
	l.opened = nil
}

func (f *openFiles) close() {
	for _, l := range f.open {
		l.close()
	}
}

func (f *openFiles) original(o image.Original) *records.File {
	return &records.File{Path: o.Path, Size: o.Size, Data: &lazyFile{files: f, how: o.Open}}
}

// copy is a file of a world, or nil when it is no regular file. The world wrote
// it, so it may be a fifo to wait at, or a link to anywhere.
func (f *openFiles) copy(path, at string) *records.File {
	fi, err := os.Lstat(at)
	if at == "" || err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	return &records.File{Path: path, Size: fi.Size(), Data: &lazyFile{files: f, how: func() (*os.File, error) {
		return os.OpenFile(at, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	}}}
}
