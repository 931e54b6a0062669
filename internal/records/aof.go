package records

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/pilotexec/pilot/internal/model"
)

// The append-only file of Redis: commands in its protocol, perhaps behind a
// snapshot. From version 7 on it is a directory with a base, files of commands
// since, and a manifest that says which count. See Redis: src/aof.c.

const maxAOFLine = 64

func isAOF(f File) bool {
	return strings.HasSuffix(f.base(), ".aof") && (f.Size == 0 || begins(f, 0, "*") || begins(f, 0, "#TS:") || begins(f, 0, "REDIS"))
}

func isAOFManifest(f File) bool { return strings.HasSuffix(f.base(), ".aof.manifest") }

func lookAOF(f File, b *Budget) (Content, error) {
	a := aof{keyspace: newKeyspace()}
	err := a.read(f, b)
	text := counted(a.commands, "command")
	if a.total() > 0 {
		text = a.text() + " and " + text
	}
	return Content{Format: "redis aof", Text: text, Records: a.commands + a.total()}, err
}

// lookAOFManifest tells which files count.
func lookAOFManifest(f File, b *Budget) (Content, error) {
	m, err := readManifest(f, b)
	text := strings.Join(append(append([]string{}, m.base...), m.incr...), ", ")
	return Content{Format: "redis aof manifest", Text: text, Records: int64(len(m.base) + len(m.incr))}, err
}

// A manifest has the names of files, in their order.
type manifest struct{ base, incr []string }

func readManifest(f File, b *Budget) (m manifest, err error) {
	text, err := read(f, b).take(int(min(f.Size, windowSize)))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line) // file NAME seq N type b|i|h
		if len(words) < 6 || words[0] != "file" {
			continue
		}
		switch words[5] {
		case "b":
			m.base = append(m.base, printable(words[1]))
		case "i":
			m.incr = append(m.incr, printable(words[1]))
		}
	}
	return m, nil
}

// An aof follows the commands of a file.
type aof struct {
	*keyspace
	db       uint64
	commands int64
	deleted  int64 // keys, by name
	// vague is set when a command may have removed keys that it does not name, or
	// names in an unknown way.
	vague bool
	args  arguments // of the command that is being read
}

func (a *aof) read(f File, b *Budget) error {
	r := read(f, b)
	if isRDB(f) {
		if err := a.readRDB(r); err != nil {
			return err
		}
	}
	for r.left() > 0 {
		line, err := r.respLine()
		if err != nil {
			return err
		}
		if line[0] == '#' {
			continue // an annotation, such as the time
		}
		if err := a.command(r, line); err != nil {
			return err
		}
	}
	return nil
}

// respLine reads up to the end of a line.
func (r *reader) respLine() ([]byte, error) {
	n := int(min(r.left(), maxAOFLine))
	start := r.pos
	b, err := r.take(n)
	if err != nil {
		return nil, err
	}
	end := bytes.IndexByte(b, '\n') - 1
	if end < 1 || b[end] != '\r' {
		if n < maxAOFLine {
			return nil, r.cut()
		}
		return nil, fmt.Errorf("broken at byte %d", start)
	}
	r.pos = start + int64(end) + 2
	return b[:end], nil
}

// respNumber is the number behind a sign, or -1.
func respNumber(line []byte, sign byte) int64 {
	if len(line) < 2 || line[0] != sign {
		return -1
	}
	n, ok := number(line[1:])
	if !ok {
		return -1
	}
	return int64(n)
}

// command reads the arguments of one command, of which the first few count.
func (a *aof) command(r *reader, line []byte) error {
	n := respNumber(line, '*')
	if n < 1 {
		return fmt.Errorf("broken at byte %d", r.pos)
	}
	const most, longest = 1024, 64 << 10
	a.args.reset()
	for i := range n {
		line, err := r.respLine()
		if err != nil {
			return err
		}
		size := respNumber(line, '$')
		if size < 0 {
			return fmt.Errorf("broken at byte %d", r.pos)
		}
		if a.seen != nil && i < most && size <= longest {
			arg, err := r.take(int(size))
			if err != nil {
				return err
			}
			a.args.add(arg)
		} else if err := r.skip(size); err != nil {
			return err
		} else if a.seen != nil && i < most {
			a.args.add(nil) // too long for a key
		}
		if err := r.skip(2); err != nil {
			return err
		}
	}
	a.commands++
	if a.seen == nil {
		return nil
	}
	args := a.args.all()
	if int64(len(args)) < n && n > most {
		a.vague = true
	}
	return a.apply(args)
}

// arguments are copies, since what a reader gave is gone when it gives more. A file has
// millions of commands, so their memory is used again and again.
type arguments struct {
	bytes []byte
	ends  []int
	list  [][]byte
}

func (a *arguments) reset() { a.bytes, a.ends = a.bytes[:0], a.ends[:0] }

func (a *arguments) add(arg []byte) {
	a.bytes = append(a.bytes, arg...)
	a.ends = append(a.ends, len(a.bytes))
}

// all is valid until the next reset.
func (a *arguments) all() [][]byte {
	a.list = a.list[:0]
	from := 0
	for _, to := range a.ends {
		a.list = append(a.list, a.bytes[from:to])
		from = to
	}
	return a.list
}

// readRedis is the store of a server. What it loads is said by its configuration,
// which is not here, so the snapshot and the append-only file count by themselves.
func readRedis(files []File, b *Budget) (figures []Figure, err error) {
	byName := map[string]File{}
	var plain, listed *File
	for _, f := range files {
		byName[path.Join(path.Dir(f.Path), f.base())] = f
		switch {
		case isAOFManifest(f):
			listed = &f
		case isAOF(f) && path.Base(path.Dir(f.Path)) != "appendonlydir" && !strings.Contains(f.base(), ".incr."):
			plain = &f
		case isRDB(f) && strings.HasSuffix(f.base(), ".rdb") && !strings.Contains(f.base(), ".base."):
			k := newKeyspace()
			if err := k.readRDB(read(f, b)); err != nil {
				return figures, err
			}
			figures = append(figures, Figure{"keys in " + f.base(), model.FigureCount, k.total()})
		}
	}
	a := aof{keyspace: newKeyspace()}
	a.seen = map[uint64]keySet{}
	switch {
	case listed != nil:
		m, err := readManifest(*listed, b)
		if err != nil {
			return figures, err
		}
		for _, name := range append(m.base, m.incr...) {
			f, ok := byName[path.Join(path.Dir(listed.Path), name)]
			if !ok {
				continue
			}
			if err := a.load(f, b); unreadable(err) {
				return figures, err
			}
		}
	case plain != nil:
		if err := a.load(*plain, b); unreadable(err) {
			return figures, err
		}
	default:
		return figures, nil
	}
	kind := model.FigureCount
	if a.vague {
		kind = model.FigureEstimate
	}
	return append(figures, Figure{"keys in the append-only file", kind, a.known()},
		Figure{"deletions", model.FigureDeleted, a.deleted}), nil
}

// unreadable tells errors that say nothing of the data. A file that is cut off is
// loaded by Redis up to there.
func unreadable(err error) bool { return isBudget(err) || errors.Is(err, errRDBType) }

// load reads a base or what follows it.
func (a *aof) load(f File, b *Budget) error {
	if isRDB(f) && !strings.HasSuffix(f.base(), ".aof") {
		return a.readRDB(read(f, b))
	}
	return a.read(f, b)
}
