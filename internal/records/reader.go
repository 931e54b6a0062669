package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Budget bounds what is read. It may be shared by many files; it must not be
// used by two goroutines.
type Budget struct {
	// Bytes is how many may still be read.
	Bytes int64
	// Stop is asked now and then, and ends the reading. May be nil.
	Stop func() bool
}

var (
	errBudget = errors.New("too much to read")
	// errCut is a record that the file does not hold to its end, as a crash, or a
	// file that is still written to, leaves it.
	errCut = errors.New("cut off")
)

func isBudget(err error) bool { return errors.Is(err, errBudget) }

// spend takes n bytes.
func (b *Budget) spend(n int) error {
	if b.Bytes < int64(n) || b.Stop != nil && b.Stop() {
		b.Bytes = 0
		return errBudget
	}
	b.Bytes -= int64(n)
	return nil
}

const (
	windowSize = 64 << 10
	// maxTake bounds one record: longer ones are broken, or can be skipped.
	maxTake = 64 << 20
	// maxKeys bounds what is remembered of keys, whose number nobody else tells.
	maxKeys = 1 << 20
)

// A reader goes through a file from its begin to its end.
type reader struct {
	f      File
	budget *Budget
	pos    int64
	at     int64 // of window
	window []byte
}

func read(f File, b *Budget) *reader { return &reader{f: f, budget: b} }

func (r *reader) left() int64 { return r.f.Size - r.pos }

// take returns the next n bytes, which stay valid until the next take.
func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || int64(n) > r.left() || n > maxTake {
		return nil, r.cut()
	}
	from := r.pos - r.at
	if from < 0 || from+int64(n) > int64(len(r.window)) {
		if err := r.fill(n); err != nil {
			return nil, err
		}
		from = 0
	}
	r.pos += int64(n)
	return r.window[from : from+int64(n)], nil
}

// fill reads a window of at least n bytes from the current position.
func (r *reader) fill(n int) error {
	size := int(min(int64(max(n, windowSize)), r.left()))
	if err := r.budget.spend(size); err != nil {
		return err
	}
	if cap(r.window) < size {
		r.window = make([]byte, size)
	}
	r.window, r.at = r.window[:size], r.pos
	got, err := r.f.Data.ReadAt(r.window, r.pos)
	r.window = r.window[:got]
	if got >= n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return r.cut()
	}
	return err
}

// skip leaves n bytes out. What was read of them already was paid for.
func (r *reader) skip(n int64) error {
	if n < 0 || n > r.left() {
		return r.cut()
	}
	r.pos += n
	return nil
}

func (r *reader) cut() error { return fmt.Errorf("%w at byte %d", errCut, r.pos) }

func (r *reader) u8() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (r *reader) be32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (r *reader) be64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// proto goes through the fields of a protocol buffer message: number, value of
// a varint, or bytes. It stops when f returns false.
// See https://protobuf.dev/programming-guides/encoding/.
func proto(msg []byte, f func(field int, v uint64, b []byte) bool) bool {
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 {
			return false
		}
		msg = msg[n:]
		var v uint64
		var b []byte
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(msg); n <= 0 {
				return false
			}
			msg = msg[n:]
		case 1, 5:
			size := 8
			if tag&7 == 5 {
				size = 4
			}
			if len(msg) < size {
				return false
			}
			msg = msg[size:]
			continue
		case 2:
			size, n := binary.Uvarint(msg)
			if n <= 0 || size > uint64(len(msg)-n) {
				return false
			}
			b = msg[n : n+int(size)]
			msg = msg[n+int(size):]
		default:
			return false
		}
		if !f(int(tag>>3), v, b) {
			return true
		}
	}
	return true
}

// A keySet remembers keys by their hash.
type keySet map[uint64]struct{}

// hash is FNV-1a of key, begun with seed.
func hash(seed uint64, key []byte) uint64 {
	h := uint64(14695981039346656037) ^ seed*0x9e3779b97f4a7c15
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func (s keySet) add(h uint64) error {
	if len(s) >= maxKeys {
		return errBudget
	}
	s[h] = struct{}{}
	return nil
}

// bytesReader goes through bytes that were read already.
func bytesReader(b []byte) *reader {
	return &reader{f: File{Size: int64(len(b))}, window: b, budget: &Budget{}}
}

// signed is n, or the most that can be counted up from, for numbers that only a
// broken file has.
func signed(n uint64) int64 { return int64(min(n, 1<<62)) }
