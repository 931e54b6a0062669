// Package records says what is in the files of well-known stores: entries of a
// log, keys of a database, messages of a stream, and the positions that must
// never go back.
//
// It reads through [io.ReaderAt], within a [Budget] of bytes, and never writes
// or keeps anything. What it reads may be broken, cut off, or no such file at
// all: then it says what it could make out, or nothing. It imports nothing of
// the kernel.
//
// A file by itself is looked at by [Look]. A [Store] is all files of one
// replica that mean something together: a snapshot and the log after it.
package records

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// A File is what is to be read, under the name it has in its data directory.
type File struct {
	Path string
	Size int64
	Data io.ReaderAt
}

func (f File) base() string { return path.Base(f.Path) }

// A Figure is one number that says how much there is.
type Figure struct {
	Name  string
	Kind  string // a Figure constant of package model
	Value int64
}

// A Content is what is in one file.
type Content struct {
	Format string
	// Text is what people read: "entries 1..4823, term 2".
	Text string
	// Records is how many there are of what the file is made of.
	Records int64
	// Partial is set when not all of the file was read, so that Records is less
	// than there are.
	Partial bool
}

// String is c in one line.
func (c Content) String() string {
	text := c.Text
	if c.Partial {
		text += " and more"
	}
	return text
}

// Meaning says what became of a file. The formats of both agree; nil stands for
// a file that is not there.
func Meaning(before, after *Content) string {
	switch {
	case before == nil && after == nil:
		return ""
	case before == nil:
		return after.Format + ": " + after.String()
	case after == nil:
		return fmt.Sprintf("%s: %s -> no file", before.Format, before)
	case before.Format != after.Format:
		return fmt.Sprintf("%s: %s -> %s: %s", before.Format, before, after.Format, after)
	case before.String() == after.String():
		return fmt.Sprintf("%s: %s, as before", after.Format, after)
	}
	return fmt.Sprintf("%s: %s -> %s", after.Format, before, after)
}

// Lost is how many records a file has fewer than before, 0 when that is not known.
func Lost(before, after *Content) int64 {
	switch {
	case before == nil || before.Partial || after != nil && (after.Partial || after.Format != before.Format):
		return 0
	case after == nil:
		return before.Records
	}
	return max(0, before.Records-after.Records)
}

// formats is every file that is known by itself. The first that wants a file
// by its name reads it.
var formats = []struct {
	wants func(File) bool
	look  func(File, *Budget) (Content, error)
}{
	{isEtcdWAL, lookEtcdWAL},         // etcdwal.go
	{isEtcdSnap, lookEtcdSnap},       // etcdwal.go
	{isKafkaLog, lookKafkaLog},       // kafka.go
	{isZKSnapshot, lookZKSnapshot},   // zookeeper.go
	{isZKLog, lookZKLog},             // zookeeper.go
	{isNATSBlock, lookNATSBlock},     // nats.go
	{isRDB, lookRDB},                 // rdb.go
	{isAOF, lookAOF},                 // aof.go
	{isAOFManifest, lookAOFManifest}, // aof.go
	{isBolt, lookBolt},               // bolt.go
}

// Look says what is in f, or nothing when it is of no known format.
func Look(f File, b *Budget) (c Content, ok bool) {
	for _, format := range formats {
		if !format.wants(f) {
			continue
		}
		c, err := format.look(f, b)
		if c.Format == "" {
			return Content{}, false
		}
		if isBudget(err) {
			c.Partial = true
		} else if err != nil {
			c.Text = join(c.Text, err.Error())
		}
		return c, true
	}
	return Content{}, false
}

// Known reports whether f may be of a known format, by its name or, for those
// that can have any name, its first bytes.
func Known(f File) bool {
	for _, format := range formats {
		if format.wants(f) {
			return true
		}
	}
	return false
}

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

// begins reports whether f starts with magic, perhaps at an offset.
func begins(f File, at int64, magic string) bool {
	if f.Data == nil {
		return false
	}
	got := make([]byte, len(magic))
	n, _ := f.Data.ReadAt(got, at)
	return n == len(magic) && string(got) == magic
}

// counted is "3 entries", "1 entry".
func counted(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	switch {
	case strings.HasSuffix(one, "ch"):
		one += "e"
	case one == "entry":
		one = "entrie"
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// span is "entries 3..9".
func span(what string, first, last uint64) string { return fmt.Sprintf("%s %d..%d", what, first, last) }
