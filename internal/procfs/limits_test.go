package procfs

import (
	"math"
	"os"
	"testing"
)

func TestParseCoreLimit(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \n"
	for row, want := range map[string]uint64{
		"Max core file size        0                    unlimited            bytes     \n": math.MaxUint64,
		"Max core file size        0                    1                    bytes     \n": 1,
	} {
		if got, err := ParseCoreLimit([]byte(head + row)); err != nil || got != want {
			t.Errorf("%q: %d, %v", row, got, err)
		}
	}
	refuses(t, ParseCoreLimit, "", head, "Max core file size 0 1\n", "Max core file size 0 x bytes\n")
	if _, err := CoreLimit(os.Getpid()); err != nil {
		t.Error(err)
	}
}

func FuzzParseCoreLimit(f *testing.F) {
	f.Add([]byte("Max core file size        0                    1                    bytes     \n"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = ParseCoreLimit(text) })
}
