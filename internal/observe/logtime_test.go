//go:build linux

package observe

import (
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	g := growth{marks: map[string][]mark{}}
	for i, size := range []int64{100, 100, 150, 400} {
		g.saw("log", mark{size, time.Duration(i + 1)})
	}
	for offset, want := range map[int64]time.Duration{0: 1, 99: 1, 100: 3, 149: 3, 150: 4, 399: 4, 400: 0} {
		if got := g.time("log", offset); got != want {
			t.Errorf("byte %d: %d, want %d", offset, got, want)
		}
	}
	g.saw("log", mark{10, 9}) // rotated
	if got := g.time("log", 5); got != 9 {
		t.Errorf("after it was begun anew: %d", got)
	}
	if got := g.time("another", 5); got != 0 {
		t.Errorf("of a log that nobody looks at: %d", got)
	}
}
