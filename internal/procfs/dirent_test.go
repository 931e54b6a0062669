package procfs

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"testing"
)

// dirent lays out a struct linux_dirent64.
func dirent(name string) []byte {
	b := make([]byte, (direntName+len(name)+1+7)&^7)
	binary.NativeEndian.PutUint16(b[16:], uint16(len(b)))
	copy(b[direntName:], name)
	return b
}

func TestAppendNumbers(t *testing.T) {
	all := slices.Concat(dirent("."), dirent(".."), dirent("0"), dirent("4711"), dirent("self"), dirent("12x"), dirent("12345678"), dirent("1234567890123456789"))
	if got, want := appendNumbers(nil, all), []int{0, 4711, 12345678}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	bad := dirent("1")
	binary.NativeEndian.PutUint16(bad[16:], 4)
	for _, b := range [][]byte{nil, bad, dirent("1")[:20]} {
		if got := appendNumbers(nil, b); len(got) > 0 {
			t.Errorf("%v: got %v", b, got)
		}
	}
}

func FuzzAppendNumbers(f *testing.F) {
	f.Add(slices.Concat(dirent("."), dirent("0"), dirent("99")))
	f.Fuzz(func(t *testing.T, entries []byte) {
		for _, n := range appendNumbers(nil, entries) {
			if n < 0 {
				t.Errorf("%d", n)
			}
		}
	})
}

// TestNumbers reads a directory that takes many calls, and compares.
func TestNumbers(t *testing.T) {
	dir := t.TempDir()
	var want []int
	for i := range 3000 {
		if err := os.WriteFile(dir+"/"+strconv.Itoa(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want = append(want, i)
	}
	if got, err := numbers(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d numbers, %v", len(got), err)
	}
	if _, err := numbers(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkTasks(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Tasks(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
