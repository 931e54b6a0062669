//go:build linux

package capture

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	// Timers are read between 95 and 100, signals between 110 and 120, the cut is
	// at 150.
	for name, c := range map[string]struct{ left, interval, want int }{
		"not armed":                                      {0, 0, 0},
		"not armed, with an interval left over":          {0, 500, 0},
		"long":                                           {1000, 0, 950},
		"fired, its signal is pending":                   {5, 0, 0},
		"fired, perhaps its signal is pending":           {15, 0, 1},
		"perhaps fired before the signals were read":     {12, 0, 1},
		"fired, its signal is not pending":               {30, 0, 1},
		"periodic, long":                                 {1000, 500, 950},
		"periodic, its signal is pending":                {5, 500, 455},
		"periodic, perhaps its signal is pending":        {15, 500, 465},
		"periodic, perhaps fired while signals are read": {22, 500, 472},
		"periodic, its signal is not pending":            {30, 500, 1},
		"periodic, fired several times":                  {5, 7, 1},
		"periodic, fired twice":                          {5, 12, 1},
		"periodic, fired at the last moment":             {25, 500, 475},
	} {
		it := Itimer{asked: span{95, 100}}
		it.Left, it.Interval = time.Duration(c.left), time.Duration(c.interval)
		it.age(span{110, 120}, 150)
		if it.Left != time.Duration(c.want) {
			t.Errorf("%s: %d left, want %d", name, it.Left, c.want)
		}
	}
}
