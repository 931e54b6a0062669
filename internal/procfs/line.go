package procfs

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
)

// lines yields the lines of text without their ends. An empty line is skipped.
func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			var l []byte
			l, text, _ = bytes.Cut(text, []byte{'\n'})
			if len(l) > 0 && !yield(l) {
				return
			}
		}
	}
}

// A line is read word by word. After a word that is not what was asked for bad
// is set, and stays so.
type line struct {
	rest []byte
	bad  bool
}

// word returns the next word, empty at the end.
func (l *line) word() []byte {
	l.rest = bytes.TrimLeft(l.rest, " \t")
	end := bytes.IndexAny(l.rest, " \t")
	if end < 0 {
		end = len(l.rest)
	}
	w := l.rest[:end]
	l.rest = l.rest[end:]
	return w
}

// upTo returns what comes before sep and steps over it.
func (l *line) upTo(sep byte) []byte {
	w, rest, ok := bytes.Cut(l.rest, []byte{sep})
	l.rest = rest
	l.bad = l.bad || !ok
	return w
}

// uint returns the next word as a number of at most bits.
func (l *line) uint(base, bits int) uint64 { return l.number(l.word(), base, bits) }

// int returns the next word as a signed decimal number.
func (l *line) int() int64 {
	n, err := strconv.ParseInt(string(l.word()), 10, 64)
	l.bad = l.bad || err != nil
	return n
}

func (l *line) number(word []byte, base, bits int) uint64 {
	n, err := strconv.ParseUint(string(word), base, bits)
	l.bad = l.bad || err != nil
	return n
}

// expect makes the line bad if ok is false.
func (l *line) expect(ok bool) { l.bad = l.bad || !ok }

// device reads MAJOR:MINOR in the given base.
func (l *line) device(word []byte, base int) (major, minor uint32) {
	a, b, ok := bytes.Cut(word, []byte{':'})
	l.expect(ok)
	return uint32(l.number(a, base, 32)), uint32(l.number(b, base, 32))
}

// Mkdev encodes a device number as stat(2) does, makedev(3).
func Mkdev(major, minor uint32) uint64 {
	a, b := uint64(major), uint64(minor)
	return (a&0xfff)<<8 | (a&^0xfff)<<32 | b&0xff | (b&^0xff)<<12
}

// mkdevKernel encodes a number that is shown as the kernel holds it, with 20
// bits of minor number, MINORBITS of linux/kdev_t.h.
func mkdevKernel(dev uint64) uint64 { return Mkdev(uint32(dev>>20), uint32(dev&0xfffff)) }

// malformed reports a line that is not what proc(5) says.
func malformed(file string, text []byte) error {
	const most = 200
	return fmt.Errorf("malformed %s line %q", file, text[:min(len(text), most)])
}

// unescape decodes the octal escapes that the kernel writes for the bytes in
// set, seq_path(9). A backslash before anything else stands for itself.
func unescape(b []byte, set string) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			n, err := strconv.ParseUint(string(b[i+1:i+4]), 8, 8)
			if err == nil && bytes.IndexByte([]byte(set), byte(n)) >= 0 {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}
