//go:build linux

package image

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A writer is production: it changes dir at random. It ignores errors, which
// only mean that a name was not there.
type writer struct {
	dir  string
	r    *rand.Rand
	maps []mapping
	open []*os.File // of unlinked files
}

type mapping struct {
	file *os.File
	mem  []byte
}

func (w *writer) name() string {
	n := "f" + strconv.Itoa(w.r.IntN(12))
	switch w.r.IntN(4) {
	case 0:
		return filepath.Join(w.dir, "d"+strconv.Itoa(w.r.IntN(3)), n)
	case 1:
		return filepath.Join(w.dir, "d0", "e", n)
	}
	return filepath.Join(w.dir, n)
}

func (w *writer) bytes(n int) []byte {
	p := make([]byte, w.r.IntN(n)+1)
	for i := range p {
		p[i] = byte(w.r.Uint32())
	}
	return p
}

func (w *writer) with(path string, flags int, do func(*os.File)) {
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() {
		return
	}
	f, err := os.OpenFile(path, flags, 0o600|os.FileMode(w.r.IntN(0o100)))
	if err != nil {
		return
	}
	defer f.Close()
	do(f)
}

const maxFile = 300 << 10

func (w *writer) step() {
	path := w.name()
	at := w.r.Int64N(maxFile)
	switch op := w.r.IntN(24); op {
	case 0, 1, 2, 3:
		w.with(path, os.O_RDWR|os.O_CREATE, func(f *os.File) { f.WriteAt(w.bytes(20000), at) })
	case 4, 5:
		w.with(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, func(f *os.File) { f.Write(w.bytes(9000)) })
	case 6:
		os.Truncate(path, at)
	case 7:
		os.Rename(path, w.name())
	case 8:
		os.Remove(path)
	case 9:
		w.with(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, func(f *os.File) { f.Write(w.bytes(5000)) })
	case 10, 11:
		w.mmap(path)
	case 12, 13, 14:
		w.store()
	case 15:
		w.unmap()
	case 16:
		mode := []uint32{0, 1, 3, 0x10}[w.r.IntN(4)] // allocate, keep size, punch, zero
		w.with(path, os.O_RDWR|os.O_CREATE, func(f *os.File) {
			syscall.Fallocate(int(f.Fd()), mode, at, w.r.Int64N(maxFile)+1)
		})
	case 17:
		os.Link(path, w.name())
	case 18:
		name := "user.k" + strconv.Itoa(w.r.IntN(3))
		if w.r.IntN(3) == 0 {
			syscall.Removexattr(path, name)
		} else {
			syscall.Setxattr(path, name, w.bytes(400), 0)
		}
	case 19:
		os.Chmod(path, os.FileMode(w.r.IntN(0o1000))|os.ModeSetuid)
		os.Chown(path, w.r.IntN(3), w.r.IntN(3))
	case 20:
		os.Symlink("t"+strconv.Itoa(w.r.IntN(100)), path)
	case 21:
		w.unlinkOpen(path)
	case 22:
		w.directory()
	case 23:
		if w.r.IntN(2) == 0 {
			syscall.Mkfifo(path, 0o640)
		} else {
			syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0)
		}
	}
}

func (w *writer) directory() {
	d := filepath.Join(w.dir, "d"+strconv.Itoa(w.r.IntN(3)))
	switch w.r.IntN(4) {
	case 0:
		os.Rename(d, filepath.Join(w.dir, "d"+strconv.Itoa(w.r.IntN(3))))
	case 1:
		os.RemoveAll(d)
	default:
		os.MkdirAll(filepath.Join(d, "e"), os.FileMode(0o700|w.r.IntN(0o100)))
	}
}

func (w *writer) mmap(path string) {
	if len(w.maps) >= 4 {
		w.unmap()
	}
	w.with(path, os.O_RDWR|os.O_CREATE, func(f *os.File) {
		// Private copies of the descriptor and pages that never fault: the
		// file may be truncated, so stores go only below its size.
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			return
		}
		file := os.NewFile(uintptr(fd), path)
		mem, err := syscall.Mmap(fd, 0, maxFile, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			file.Close()
			return
		}
		w.maps = append(w.maps, mapping{file, mem})
	})
}

func (w *writer) store() {
	if len(w.maps) == 0 {
		return
	}
	m := w.maps[w.r.IntN(len(w.maps))]
	fi, err := m.file.Stat()
	if err != nil || fi.Size() == 0 {
		return
	}
	for range 8 {
		m.mem[w.r.Int64N(min(fi.Size(), maxFile))] = byte(w.r.Uint32())
	}
}

func (w *writer) unmap() {
	if len(w.maps) == 0 {
		return
	}
	syscall.Munmap(w.maps[0].mem)
	w.maps[0].file.Close()
	w.maps = w.maps[1:]
}

func (w *writer) unlinkOpen(path string) {
	w.with(path, os.O_RDWR, func(f *os.File) {
		if len(w.open) >= 5 {
			return
		}
		if fd, err := syscall.Dup(int(f.Fd())); err == nil {
			w.open = append(w.open, os.NewFile(uintptr(fd), path))
			os.Remove(path)
		}
	})
	if len(w.open) > 0 {
		w.open[w.r.IntN(len(w.open))].WriteAt(w.bytes(9000), w.r.Int64N(maxFile))
	}
}

func (w *writer) close() {
	for len(w.maps) > 0 {
		w.unmap()
	}
	for _, f := range w.open {
		f.Close()
	}
}

// run changes things until stop is closed.
func (w *writer) run(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-stop:
			return
		default:
			w.step()
			if w.r.IntN(4) == 0 {
				time.Sleep(time.Duration(w.r.IntN(100)) * time.Microsecond)
			}
		}
	}
}

func procFD(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// TestRandomWriter is the property that the package exists for: whatever was
// written during the live passes, a world equals the source at the freeze.
func TestRandomWriter(t *testing.T) {
	rounds := 300 // shared by the file systems
	if testing.Short() {
		rounds = 20
	}
	if n, err := strconv.Atoi(os.Getenv("PILOT_IMAGE_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("PILOT_IMAGE_SEED"), 10, 64); err == nil {
		seed, rounds = n, 1
	}
	list := fileSystems(t)
	for _, fs := range list {
		t.Run(fs.name, func(t *testing.T) {
			for i := range (rounds + len(list) - 1) / len(list) {
				s := seed + uint64(i)
				if !t.Run(strconv.FormatUint(s, 10), func(t *testing.T) { randomRound(t, fs, s) }) {
					t.Fatalf("repeat with PILOT_IMAGE_SEED=%d", s)
				}
			}
		})
	}
}

func randomRound(t *testing.T, fs testFS, seed uint64) {
	ctx := context.Background()
	base := fs.dir(t)
	src := filepath.Join(base, "src")
	w := &writer{dir: src, r: rand.New(rand.NewPCG(seed, 1))}
	r := rand.New(rand.NewPCG(seed, 2))
	must(t, os.MkdirAll(filepath.Join(src, "d0", "e"), 0o755))
	for range r.IntN(150) {
		w.step()
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go w.run(stop, done)
	im, err := Prepare(ctx, filepath.Join(base, "image"), []string{src})
	for range r.IntN(3) {
		if err == nil {
			err = im.Settle(ctx)
		}
	}
	time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
	close(stop)
	<-done
	defer w.close()
	must(t, err)

	var writable []string
	for _, m := range w.maps {
		writable = append(writable, procFD(m.file))
	}
	deleted := map[string]string{}
	for i, f := range w.open {
		deleted[procFD(f)] = strconv.Itoa(i)
	}
	before := look(t, src)
	must(t, im.Freeze(ctx, writable, func() map[string]string { return deleted }))
	for rel, line := range look(t, src) {
		if before[rel] != line {
			t.Errorf("Freeze changed the source: %s was %s, is %s", rel, before[rel], line)
		}
	}
	tree, err := im.World(ctx, filepath.Join(base, "world"))
	must(t, err)
	if len(tree.Lost) > 0 {
		t.Errorf("lost: %v", tree.Lost)
	}
	for i, f := range w.open {
		sameBytes(t, procFD(f), tree.Deleted[strconv.Itoa(i)])
	}
	for _, path := range tree.Deleted {
		os.Remove(path) // as its user does; keys may share a path
	}
	mustEqual(t, src, tree.Roots[0].Path)
	changes, err := im.Diff(ctx, tree)
	must(t, err)
	if len(changes) > 0 {
		t.Errorf("an untouched world differs: %v", changes)
	}
	must(t, im.Remove())
	must(t, os.RemoveAll(base))
}
