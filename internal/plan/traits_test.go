package plan

import (
	"slices"
	"testing"

	"github.com/pilotexec/pilot/internal/model"
)

func TestTraits(t *testing.T) {
	m := model.Member{Name: "m1", PID: 4000}
	leader := Traits{Session: 4000, Group: 4000}
	for _, c := range []struct {
		name   string
		change func(*Traits)
		want   []string
	}{
		{"a daemon", func(*Traits) {}, nil},
		{"real-time", func(t *Traits) { t.Realtime = true }, []string{"real-time priority"}},
		{"may be real-time", func(t *Traits) { t.RealtimeLimit = 99 }, []string{"RLIMIT_RTPRIO"}},
		{"locked", func(t *Traits) { t.Locked = 4096 }, []string{"locked memory"}},
		{"in a session", func(t *Traits) { t.Session = 1 }, []string{"session"}},
		{"in a group", func(t *Traits) { t.Group = 1 }, []string{"session"}},
		{"on a terminal", func(t *Traits) { t.Terminal = true }, []string{"controlling terminal"}},
	} {
		traits := leader
		c.change(&traits)
		var got []string
		for _, g := range traits.gaps(m) {
			if g.Member != "m1" || g.Detail == "" {
				t.Errorf("%s: incomplete gap %+v", c.name, g)
			}
			got = append(got, g.Object)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: gaps %q, want %q", c.name, got, c.want)
		}
	}
}
