package plan

import "testing"

func TestDegrade(t *testing.T) {
	for _, c := range []struct {
		name       string
		give, want Service
	}{
		{"ordinary", Service{}, Service{}},
		{"nice", Service{Nice: 7}, Service{Nice: 7}},
		{"not nice", Service{Nice: -7}, Service{Nice: -7}},
		{"batch", Service{Policy: 3, Nice: 2}, Service{Policy: 3, Nice: 2}},
		{"idle", Service{Policy: 5}, Service{Policy: 5}},
		{"fifo", Service{Policy: 1, Priority: 99}, Service{}},
		{"round robin", Service{Policy: 2, Priority: 1}, Service{}},
		{"deadline", Service{Policy: 6}, Service{}},
		{"real-time I/O", Service{IO: 1<<13 | 3}, Service{IO: 2<<13 | 3}},
		{"best effort", Service{IO: 2<<13 | 7}, Service{IO: 2<<13 | 7}},
		{"idle I/O", Service{IO: 3 << 13}, Service{IO: 3 << 13}},
		{"both", Service{Policy: 1, Priority: 1, IO: 1 << 13}, Service{IO: 2 << 13}},
	} {
		got, degraded := Degrade(c.give)
		if got != c.want || degraded != (c.give != c.want) {
			t.Errorf("%s: %+v, degraded %v, want %+v", c.name, got, degraded, c.want)
		}
	}
}
