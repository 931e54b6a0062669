//go:build linux

package pagetrack_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pilotexec/pilot/internal/pagetrack"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPrivKinds changes a page in every way that there is, and looks whether it
// is told of, and not the whole file.
func TestPrivKinds(t *testing.T) {
	testenv.Privileged(t)
	const size, page, at = 8 << 20, 4096, 5 << 20
	direct, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	must(t, err)
	fallocate := func(mode uint32) func(*testing.T, *os.File) {
		return func(t *testing.T, f *os.File) { must(t, syscall.Fallocate(int(f.Fd()), mode, at, page)) }
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, *os.File)
	}{
		{"write", func(t *testing.T, f *os.File) {
			_, err := f.WriteAt([]byte("x"), at)
			must(t, err)
		}},
		{"store", func(t *testing.T, f *os.File) {
			mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			must(t, err)
			mem[at] = 'x'
			must(t, syscall.Munmap(mem))
		}},
		{"direct write", func(t *testing.T, f *os.File) {
			d, err := os.OpenFile(f.Name(), os.O_WRONLY|syscall.O_DIRECT, 0)
			must(t, err)
			defer d.Close()
			_, err = d.WriteAt(direct, at)
			must(t, err)
		}},
		{"truncate", func(t *testing.T, f *os.File) {
			must(t, f.Truncate(at))
			must(t, f.Truncate(size))
		}},
		{"punch", fallocate(0x03)},
		{"zero", fallocate(0x10)},
		{"collapse", fallocate(0x08)},
		{"insert", fallocate(0x20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			must(t, err)
			defer f.Close()
			for off := int64(0); off < size; off += page { // so that no folio is the whole file
				_, err := f.WriteAt(make([]byte, page), off)
				must(t, err)
			}
			fi, err := sys.Fstat(sys.FD(f.Fd()))
			must(t, err)
			info, err := sys.Statfs(f.Name())
			must(t, err)
			if why := pagetrack.Device(info.Magic, fi.Dev); why != "" {
				t.Skipf("the temporary directory: %s", why)
			}
			tracker, err := pagetrack.Open(pagetrack.Room(size))
			must(t, err)
			defer func() { must(t, tracker.Close()) }()
			file, err := tracker.Add(fi.Dev, fi.Ino, size)
			must(t, err)
			if _, err := tracker.Add(fi.Dev, fi.Ino+1, size); !errors.Is(err, pagetrack.ErrFull) {
				t.Errorf("a second file: %v, want ErrFull", err)
			}
			if base := file.Base(); base != 0 {
				t.Errorf("base %d before the file was tracked for an age", base)
			}
			must(t, tracker.Next())
			since := file.Base()
			must(t, f.Sync())
			_, err = os.ReadFile(f.Name())
			must(t, err)
			if n := changed(file, since, size, -1); n > 0 {
				t.Errorf("%d pages changed before anything happened", n)
			}
			c.change(t, f)
			n := changed(file, since, size, at)
			if n == 0 {
				t.Error("the page is not told of")
			}
			if n > (size-at)/page+1 {
				t.Errorf("%d pages told of", n)
			}
			if tracker.Lost() {
				t.Error("something was lost")
			}
			must(t, tracker.Next())
			if n := changed(file, file.Base(), size, -1); n > 0 {
				t.Errorf("%d pages are still told of in the next age", n)
			}
		})
	}
}

// changed counts the pages that changed; none when one at a place is wanted and
// is not among them.
func changed(f *pagetrack.File, since pagetrack.Age, size, at int64) (n int64) {
	found := at < 0
	for from, to := range f.Changed(since, 0, size) {
		n += (to - from + 4095) / 4096
		found = found || from <= at && at < to
	}
	if !found {
		return 0
	}
	return n
}
