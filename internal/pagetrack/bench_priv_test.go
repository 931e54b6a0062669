//go:build linux

package pagetrack_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pilotexec/pilot/internal/pagetrack"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/testenv"
)

// BenchmarkWrite is what a write costs a process that has nothing to do with it,
// and one whose file is tracked: 4 KiB at the end of a file, which is then truncated.
// Each page becomes dirty, and leaves the cache again.
func BenchmarkWrite(b *testing.B) {
	testenv.Privileged(b)
	for _, how := range []string{"without", "beside", "tracked"} {
		b.Run(how, func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if how != "without" {
				t, err := pagetrack.Open(pagetrack.Room(64 << 20))
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
				fi, err := sys.Fstat(sys.FD(f.Fd()))
				if err != nil {
					b.Fatal(err)
				}
				if how == "tracked" {
					if _, err := t.Add(fi.Dev, fi.Ino, 64<<20); err != nil {
						b.Fatal(err)
					}
				}
			}
			page := make([]byte, 4096)
			for i := int64(0); b.Loop(); i++ {
				if i%4096 == 0 {
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := f.WriteAt(page, i%4096*4096); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
