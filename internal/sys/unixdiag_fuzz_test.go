//go:build linux

package sys

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzUnixDiag begins with answers of Linux 6.18, in testdata/fuzz.
func FuzzUnixDiag(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, answer []byte) {
		before := slices.Clone(answer)
		s, err := parseUnixDiag(answer)
		if !bytes.Equal(answer, before) {
			t.Error("the input was changed")
		}
		if err == nil && 4*len(s.Queued) > len(answer) {
			t.Errorf("%d sockets in %d bytes", len(s.Queued), len(answer))
		}
	})
}
