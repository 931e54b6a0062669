package config

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1048576": 1 << 20, "1M": 1 << 20, "512m": 512 << 20, "1.5G": 3 << 29, "4GiB": 4 << 30, "2 TB": 2 << 40, "2048K": 2 << 20, "2097152B": 2 << 20,
	} {
		if got, err := size(text); err != nil || got != want {
			t.Errorf("size(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "M", "4 gigs", "4X", "1Mi", "1BB", "1IB", "1023K", "-4G", "NaN", "InfG", "1e300", "9999999T", "1MM", "0x10M "} {
		if got, err := size(bad); err == nil {
			t.Errorf("size(%q) = %d, want an error", bad, got)
		}
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]float64{"10%": 10, "2.5": 2.5, "100%": 100} {
		if got, err := percent(text); err != nil || got != want {
			t.Errorf("percent(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "%", "0", "0%", "101%", "-1", "NaN", "ten"} {
		if got, err := percent(bad); err == nil {
			t.Errorf("percent(%q) = %v, want an error", bad, got)
		}
	}
}
