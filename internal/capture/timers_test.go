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

func TestTimersAtTheCut(t *testing.T) {
	// Timers are read at 100, signals between 110 and 120, the cut is at 150.
	when := timing{timers: 100, signals: [2]time.Duration{110, 120}}
	for _, c := range []struct {
		name                 string
		left, interval, want time.Duration
	}{
		{"not armed", 0, 0, 0},
		{"long", 1000, 0, 950},
		{"fired, its signal is pending", 5, 0, 0},
		{"perhaps fired, perhaps its signal is pending", 15, 0, 1},
		{"fired, its signal is not pending", 30, 0, 1},
		{"periodic, long", 1000, 500, 950},
		{"periodic, its signal is pending", 5, 500, 455},
		{"periodic, perhaps its signal is pending", 15, 500, 465},
		{"periodic, its signal is not pending", 30, 500, 1},
	} {
		if got := when.left(c.left, c.interval, 150); got != c.want {
			t.Errorf("%s: %v left, want %v", c.name, got, c.want)
		}
	}
}
