//go:build linux

package kobj

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTimerResumed(t *testing.T) {
	const cut = 1000
	for _, c := range []struct {
		name                    string
		left, interval, at, ran time.Duration
		ticks                   uint64
		wantLeft                time.Duration
		wantTicks               uint64
	}{
		{"not armed", 0, 0, 1010, 5, 1, 0, 1},
		{"once", 50, 0, 1010, 0, 0, 60, 0},
		{"once, later", 50, 0, 1010, 20, 0, 40, 0},
		{"once, due meanwhile", 50, 0, 1010, 90, 0, 1, 0},
		{"periodic", 50, 100, 1010, 0, 0, 60, 0},
		{"a tick before the cut", 50, 100, 1010, 0, 3, 60, 3},
		{"a tick behind the cut", 95, 100, 1010, 0, 1, 5, 0},
		{"ticks on both sides", 95, 100, 1010, 0, 4, 5, 3},
	} {
		st := timerState{ticks: c.ticks, at: c.at, spec: unix.ItimerSpec{
			Value: unix.NsecToTimespec(int64(c.left)), Interval: unix.NsecToTimespec(int64(c.interval)),
		}}
		got := st.resumed(cut, c.ran)
		if left := time.Duration(got.spec.Value.Nano()); left != c.wantLeft || got.ticks != c.wantTicks {
			t.Errorf("%s: %v left, %d ticks; want %v, %d", c.name, left, got.ticks, c.wantLeft, c.wantTicks)
		}
	}
}
