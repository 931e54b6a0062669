package config

import "testing"

// FuzzSetting wants no value that the limits forbid to be taken, and a refused
// one to change nothing.
func FuzzSetting(f *testing.F) {
	for _, s := range settings {
		for _, value := range []string{"250ms", "0", "-1s", "1e9h", "5", "9223372036854775807ns"} {
			f.Add(s.flag, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		c := Default()
		err := c.Set(name, value)
		if err != nil && (c.MaxPause != DefaultMaxPause || c.Timeout != DefaultTimeout || c.Settle != DefaultSettle) {
			t.Errorf("%s=%q is refused and taken", name, value)
		}
		if c.MaxPause < lowPause || c.Timeout < lowTimeout || c.Settle < 0 {
			t.Errorf("%s=%q gives %v, %v, %v", name, value, c.MaxPause, c.Timeout, c.Settle)
		}
		other := Default()
		if oerr := other.Environ(func(string) string { return value }); value != "" && oerr == nil && (other.MaxPause < lowPause || other.Timeout < lowTimeout) {
			t.Errorf("the environment takes %q", value)
		}
	})
}
