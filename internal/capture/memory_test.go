//go:build linux

package capture

import (
	"testing"
	"time"
)

func TestAged(t *testing.T) {
	for _, c := range []struct{ left, interval, ago, want time.Duration }{
		{0, 0, 5, 0},   // not armed
		{0, 10, 5, 0},  // not armed, with an interval left over
		{10, 0, 4, 6},  // still to fire
		{10, 0, 10, 0}, // fired just then
		{10, 0, 40, 0}, // fired long ago
		{10, 20, 4, 6}, // before the first time
		{10, 20, 10, 20},
		{10, 20, 11, 19},
		{10, 20, 30, 20},
		{10, 20, 57, 13},
	} {
		if got := aged(c.left, c.interval, c.ago); got != c.want {
			t.Errorf("%v left of a timer with interval %v, after %v: %v, want %v", c.left, c.interval, c.ago, got, c.want)
		}
	}
}
