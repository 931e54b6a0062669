//go:build linux

package image

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWayOf(t *testing.T) {
	for _, c := range []struct {
		share, snapshot, memory bool
		want                    string
	}{
		{true, true, false, waySnapshot},
		{true, false, false, wayShare},
		{false, false, false, wayPatch},
		{false, false, true, wayCompare},
	} {
		if got := wayOf(c.share, c.snapshot, c.memory); got != c.want {
			t.Errorf("wayOf(%v, %v, %v) = %s, want %s", c.share, c.snapshot, c.memory, got, c.want)
		}
	}
}

func TestAnotherRound(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		round        int
		last, copied int64
		inTime, want bool
	}{
		{0, -1, 100 * mib, true, true},
		{0, -1, fewBytes, true, false},
		{1, 100 * mib, 40 * mib, true, true},
		{1, 100 * mib, 60 * mib, true, false}, // it does not get less
		{1, 100 * mib, 40 * mib, false, false},
		{maxRounds - 1, 100 * mib, 40 * mib, true, false},
	} {
		if got := another(c.round, c.last, c.copied, c.inTime); got != c.want {
			t.Errorf("another(%d, %d, %d, %v) = %v", c.round, c.last, c.copied, c.inTime, got)
		}
	}
}

func TestAfford(t *testing.T) {
	h := heat{files: 3, bytes: 10 << 30, most: 8 << 30, path: "/data/db", dev: &device{name: "ext4", why: "no reflink"}}
	if err := h.afford(600*time.Millisecond, 2); err != nil { // 10240 MiB * 0.1 ms / 2
		t.Error(err)
	}
	err := h.afford(500*time.Millisecond, 2)
	if !errors.Is(err, ErrSlow) {
		t.Fatalf("error %v, want ErrSlow", err)
	}
	for _, says := range []string{"3 files of 10240 MiB", "/data/db of 8192 MiB (ext4, no reflink)", "takes 512ms", "500ms allowed"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	if err := (heat{}).afford(0, 1); err != nil {
		t.Error(err)
	}
}
