package procfs

import (
	"math"
	"os"
	"testing"
)

func TestParseHardLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \n"
	for row, want := range map[string]uint64{
		"Max core file size        0                    unlimited            bytes     \n": math.MaxUint64,
		"Max core file size        0                    1                    bytes     \n": 1,
	} {
		if got, err := ParseHardLimit([]byte(head+row), LimitCore); err != nil || got != want {
			t.Errorf("%q: %d, %v", row, got, err)
		}
	}
	core := func(text []byte) (uint64, error) { return ParseHardLimit(text, LimitCore) }
	refuses(t, core, "", head, "Max core file size 0\n", "Max core file size 0 x bytes\n", "Max core file size 0 1 2 bytes\n")
	for _, name := range []string{LimitCore, LimitRealtime} {
		if _, err := HardLimit(os.Getpid(), name); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseHardLimit(f *testing.F) {
	f.Add([]byte("Max core file size        0                    1                    bytes     \n"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = ParseHardLimit(text, LimitCore) })
}
