package trace

import (
	"errors"
	"github.com/cilium/ebpf"
	"testing"
)

func TestPrivLoad(t *testing.T) {
	l, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []Level{Effects, Full} {
		m, err := newMaps()
		if err != nil {
			t.Fatal(err)
		}
		links, err := attach(l, m, level)
		if err != nil {
			var ve *ebpf.VerifierError
			if errors.As(err, &ve) {
				n := len(ve.Log)
				t.Fatalf("%v\n%v", err, ve.Log[max(0, n-40):])
			}
			t.Fatal(err)
		}
		detach(links)
		m.close()
	}
}
