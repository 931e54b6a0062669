//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/sys"
)

// A found is one name that a walk met. It is valid during the visit.
type found struct {
	root string
	rel  string // below root, empty for root itself
	dir  sys.FD // the directory that holds it
	name string // in dir
	fi   sys.FileInfo
	at   time.Time // before fi was taken
	up   uint64    // device of dir, or its own for where the walk began
}

// path is for messages; the walk itself uses dir and name.
func (f *found) path() string { return join(f.root, f.rel) }

// procPath is a path for calls that take no directory descriptor. It cannot be
// led astray by a rename of a directory above.
func (f *found) procPath() string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.dir)) + "/" + f.name
}

func join(root, rel string) string {
	if rel == "" {
		return root
	}
	return root + "/" + rel
}

// A walker visits rel below root and all that it holds, directories before what
// is in them, and follows mounts but not symbolic links.
type walker struct {
	im   *Image // set when root is a source
	root string
	rel  string
	// skip leaves out a directory, and all below it. May be nil.
	skip func(*found) bool
	// live tolerates that names vanish or change their type during the walk.
	live bool
	// threads look at the files of a large directory.
	threads int
	visit   func(*found) error

	n   int
	buf [16 << 10]byte
}

// run walks. The error names the path it happened at. A root that is not there
// is ErrGone, or nothing at all in a live walk.
func (w *walker) run(ctx context.Context) error {
	parent, name := filepath.Split(join(w.root, w.rel))
	dir, err := sys.OpenQuiet(atCWD, parent, syscall.O_DIRECTORY)
	if err == nil {
		defer dir.Close()
		f := found{root: w.root, rel: w.rel, dir: dir, name: name, at: time.Now()}
		f.fi, err = sys.FstatAt(dir, name)
		if err == nil {
			f.up = f.fi.Dev
			return w.one(ctx, &f)
		}
	}
	if vanished(err) {
		if w.live {
			return nil
		}
		return fmt.Errorf("source %s: %w", join(w.root, w.rel), ErrGone)
	}
	return fmt.Errorf("walk %s: %w", join(w.root, w.rel), err)
}

func (w *walker) one(ctx context.Context, f *found) error {
	if w.n++; w.n%64 == 0 {
		if err := checkBudget(ctx); err != nil {
			return err
		}
	}
	if w.im != nil && idOf(&f.fi) == w.im.self {
		return fmt.Errorf("%s: the image's own directory lies in a source: %w", f.path(), ErrRefused)
	}
	if err := w.visit(f); err != nil {
		return w.at(f, err)
	}
	if f.fi.Type() == syscall.S_IFDIR {
		return w.children(ctx, f)
	}
	return nil
}

func (w *walker) children(ctx context.Context, f *found) error {
	fd, err := sys.OpenQuiet(f.dir, f.name, syscall.O_DIRECTORY|syscall.O_NOFOLLOW)
	if err != nil {
		return w.at(f, err)
	}
	defer fd.Close()
	names, rels, err := w.list(f, fd)
	if err != nil {
		return w.at(f, err)
	}
	at := time.Now()
	looks := w.ahead(fd, names)
	for i, name := range names {
		c := found{root: f.root, rel: rels[i], dir: fd, name: name, at: at, up: f.fi.Dev}
		if looks != nil {
			c.fi, err = looks[i].fi, looks[i].err
		} else {
			c.at = time.Now()
			c.fi, err = sys.FstatAt(fd, name)
		}
		if err != nil {
			if err := w.at(&c, err); err != nil {
				return err
			}
			continue
		}
		if w.skip != nil && c.fi.Type() == syscall.S_IFDIR && w.skip(&c) {
			continue
		}
		if err := w.one(ctx, &c); err != nil {
			return err
		}
	}
	return nil
}

// A look is the answer of a stat.
type look struct {
	fi  sys.FileInfo
	err error
}

// minAhead is how many stats, at 1.3 us each, are worth waking somebody up.
const minAhead = 64

// ahead looks at all names with several threads. It returns nil where that is
// not worth it, or not wanted.
func (w *walker) ahead(dir sys.FD, names []string) []look {
	if w.threads < 2 || len(names) < minAhead {
		return nil
	}
	looks := make([]look, len(names))
	each := max(minAhead/2, (len(names)+w.threads-1)/w.threads)
	var wg sync.WaitGroup
	for from := 0; from < len(names); from += each {
		wg.Go(func() {
			for i := from; i < min(from+each, len(names)); i++ {
				looks[i].fi, looks[i].err = sys.FstatAt(dir, names[i])
			}
		})
	}
	wg.Wait()
	return looks
}

// A listing is what a directory held.
type listing struct {
	seen  version
	rel   string // of the directory
	names []string
	rels  []string // of names, below the root
}

// list returns the names in directory f, and each joined to the path of f. A
// directory's ctime moves with every name that comes or goes, under the same
// lock that reading it takes: one that looks as before is not read again.
func (w *walker) list(f *found, fd sys.FD) (names, rels []string, err error) {
	var known *listing
	if w.im != nil {
		ino := w.im.inode(&f.fi)
		if known = &ino.list; known.rel == f.rel && known.seen.holds(&f.fi) {
			return known.names, known.rels, nil
		}
	}
	if names, err = sys.ReadNames(fd, w.buf[:]); err != nil {
		return nil, nil, err
	}
	rels = names
	if f.rel != "" {
		rels = make([]string, len(names))
		for i, name := range names {
			rels[i] = f.rel + "/" + name
		}
	}
	if known != nil {
		*known = listing{versionOf(&f.fi, f.at), f.rel, names, rels}
	}
	return names, rels, nil
}

// at adds f's path to err once, and forgives what a live walk may meet.
func (w *walker) at(f *found, err error) error {
	var done *pathError
	switch {
	case err == nil || w.live && vanished(err):
		return nil
	case errors.As(err, &done) || errors.Is(err, ErrBudget):
		return err
	case vanished(err):
		err = fmt.Errorf("%w (%w)", ErrForeign, err)
	}
	return &pathError{f.path(), err}
}

// A pathError locates an error in a source.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// vanished reports whether err says that a name is gone or is something else now.
func vanished(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENXIO)
}

// checkBudget returns ErrBudget when ctx's deadline passed, or ctx's own error
// when it was cancelled.
func checkBudget(ctx context.Context) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrBudget, err)
	}
	return err
}
