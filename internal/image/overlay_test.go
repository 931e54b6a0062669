//go:build linux

package image

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestOverlayIsNoWorld shows why worlds are copies where blocks cannot be
// shared, and not overlays over the frozen image: programs would see other files
// than production's do. If it fails one day, overlays may be thought of again.
func TestOverlayIsNoWorld(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/lower/db", "old")
	write(t, base+"/lower/a", "old")
	must(t, os.Link(base+"/lower/a", base+"/lower/b"))
	for _, dir := range []string{"upper", "work", "world"} {
		must(t, os.Mkdir(base+"/"+dir, 0o700))
	}
	if err := syscall.Mount("none", base+"/world", "overlay", 0, strings.ReplaceAll("lowerdir=D/lower,upperdir=D/upper,workdir=D/work", "D", base)); err != nil {
		privileged(t, "mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(base+"/world", 0)) })

	reader, err := os.Open(base + "/world/db")
	must(t, err)
	defer reader.Close()
	mapped, err := syscall.Mmap(int(reader.Fd()), 0, 3, syscall.PROT_READ, syscall.MAP_SHARED)
	must(t, err)
	defer syscall.Munmap(mapped)
	write(t, base+"/world/db", "new")
	if string(mapped) != "old" { // read(2) sees "new" on Linux 6.18, and "old" on older kernels
		t.Errorf("a mapping from before the first write sees %q", mapped)
	}

	write(t, base+"/world/a", "new")
	other, err := os.ReadFile(base + "/world/b")
	must(t, err)
	if string(other) != "old" {
		t.Errorf("the other name of a file sees %q", other)
	}
}
