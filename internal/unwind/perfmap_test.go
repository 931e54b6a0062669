//go:build linux

package unwind

import (
	"strings"
	"testing"
)

func TestParsePerfMap(t *testing.T) {
	funcs := parsePerfMap(strings.NewReader(`0x00007fd98cec8420 0x120 int sun.nio.ch.FileDispatcherImpl.write0(java.io.FileDescriptor, long, int)
7fd98cecb460 5e0 int sun.nio.ch.FileChannelImpl.write(java.nio.ByteBuffer)
7fd97c000000 40 Interpreter
torn
7fd97c000100
zz 10 bad
ffffffffffffffff 10 around
`))
	n := Names{maps: map[int]*perfMap{7: {funcs: funcs}}}
	for at, want := range map[uint64]string{
		0x7fd98cec84f6: "int sun.nio.ch.FileDispatcherImpl.write0(java.io.FileDescriptor, long, int)",
		0x7fd98cec8420: "int sun.nio.ch.FileDispatcherImpl.write0(java.io.FileDescriptor, long, int)",
		0x7fd98cec8540: "", 0x7fd98cecb460: "int sun.nio.ch.FileChannelImpl.write(java.nio.ByteBuffer)",
		0x7fd97c00003f: "Interpreter", 0x7fd97c000040: "", 1: "",
	} {
		if got, found := n.generatedCode(7, at); got != want || found != (want != "") {
			t.Errorf("%x: %q, want %q", at, got, want)
		}
	}
}

func FuzzPerfMap(f *testing.F) {
	f.Add("7fd98cecb460 5e0 int f()\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, g := range parsePerfMap(strings.NewReader(text)) {
			if g.end < g.start || g.name == "" {
				t.Errorf("%+v", g)
			}
		}
	})
}
