package procfs

import (
	"testing"
	"time"
)

func TestParseSchedstat(t *testing.T) {
	want := Schedstat{CPU: 206693339, Waited: 38274631, Slices: 934}
	if got, err := ParseSchedstat([]byte("206693339 38274631 934\n")); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{"", "1 2\n", "1 2 x\n", "-1 2 3\n", "99999999999999999999 0 1"} {
		if got, err := ParseSchedstat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzSchedstat(f *testing.F) {
	f.Add([]byte("206693339 38274631 934\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := ParseSchedstat(text); err == nil && (s.CPU < 0 || s.Waited < time.Duration(0)) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
