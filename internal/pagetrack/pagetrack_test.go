//go:build linux

package pagetrack

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// fake is the memory of a map.
type fake struct {
	*bytes.Reader
	marks []byte
}

func (f fake) WriteAt(p []byte, off int64) (int, error) { return copy(f.marks[off:], p), nil }

// TestUnread looks which pages are told of that lie in parts that were not read.
func TestUnread(t *testing.T) {
	const pages = chunkPages
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		marks := make([]byte, 3*chunkPages)
		f := &File{t: &Tracker{memory: fake{bytes.NewReader(marks), marks}}, first: chunkPages, pages: pages}
		from := r.Int64N((pages + 10) * pageSize)
		to := from + r.Int64N(8*pageSize)
		if err := f.Unread(from, to); err != nil {
			t.Fatal(err)
		}
		for i, age := range marks {
			page := int64(i) - f.first
			whole := from <= page*pageSize && (page+1)*pageSize <= to && page < pages
			if whole != (Age(age) >= unread-1) {
				t.Fatalf("seed %d: unread [%d, %d): page %d has age %d", seed, from, to, page, age)
			}
		}
	}
}

// TestChanged compares the runs with the pages one by one.
func TestChanged(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		pages := chunkPages * (1 + r.Int64N(2))
		marks := make([]byte, 3*chunkPages)
		for range r.IntN(8) {
			at := r.IntN(len(marks))
			for i := at; i < min(len(marks), at+r.IntN(2000)); i++ {
				marks[i] = byte(r.IntN(4))
			}
		}
		f := &File{t: &Tracker{memory: fake{bytes.NewReader(marks), marks}}, first: chunkPages, pages: pages}
		if r.IntN(2) == 0 {
			f.first = 0
		}
		since := Age(1 + r.IntN(3))
		from := r.Int64N(pages * pageSize)
		to := from + r.Int64N(pages*pageSize)
		var got []int64 // the pages
		last := int64(-1)
		for a, b := range f.Changed(since, from, to) {
			if a < from || b > to || a >= b || a <= last {
				t.Fatalf("seed %d: run [%d, %d) of [%d, %d), the one before ended at %d", seed, a, b, from, to, last)
			}
			last = b
			for at := a; at < b; at = (at/pageSize + 1) * pageSize {
				got = append(got, at/pageSize)
			}
		}
		var want []int64
		for at := from; at < to; at = (at/pageSize + 1) * pageSize {
			if page := at / pageSize; page >= pages || Age(marks[f.first+page]) >= since {
				want = append(want, at/pageSize)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: [%d, %d): got pages %v, want %v", seed, from, to, got, want)
		}
	}
}
