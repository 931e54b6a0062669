package fault

import (
	"errors"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	seen := map[string]Point{}
	for _, p := range All() {
		if p.String() == "" {
			t.Errorf("point %d has no name", uint8(p))
		}
		if other, twice := seen[p.String()]; twice {
			t.Errorf("points %d and %d are both %q", uint8(p), uint8(other), p)
		}
		seen[p.String()] = p
	}
	if len(seen) != int(end)-1 {
		t.Errorf("%d points of %d", len(seen), end-1)
	}
}

func TestOff(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		for _, p := range []Point{RegsSet, ClusterPaused} {
			if err := p.Hit(); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("a point that is off allocates %v times", n)
	}
}

func TestArm(t *testing.T) {
	defer Arm(nil)
	var told []Injection
	Arm(func(in Injection) { told = append(told, in) },
		Injection{Point: RegsSet, Effect: Error, Skip: 2},
		Injection{Point: CallMade, Effect: Delay, Delay: 20 * time.Millisecond})
	for i, want := range []bool{false, false, true, false} {
		if err := MaskSet.Hit(); err != nil {
			t.Errorf("another point: %v", err)
		}
		if err := RegsSet.Hit(); errors.Is(err, ErrInjected) != want {
			t.Errorf("pass %d: %v", i, err)
		}
	}
	start := time.Now()
	if err := CallMade.Hit(); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("delay: %v after %v", err, time.Since(start))
	}
	if len(told) != 2 || told[0].Point != RegsSet || told[1].Point != CallMade {
		t.Errorf("told %v", told)
	}
}

func BenchmarkOff(b *testing.B) {
	for b.Loop() {
		if err := RegsSet.Hit(); err != nil {
			b.Fatal(err)
		}
	}
}
