//go:build linux

package image

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// victimEnv makes this test binary a writer: its directory and seed.
const victimEnv = "PILOT_IMAGE_VICTIM"

// victim writes with several threads until it is killed.
func victim(arg string) {
	dir, number, _ := strings.Cut(arg, " ")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		panic(err)
	}
	var writers []*writer
	for i := range uint64(3) {
		w := &writer{dir: dir, r: rand.New(rand.NewPCG(seed, i)), direct: alignedPages()}
		for range w.r.IntN(60) {
			w.step()
		}
		writers = append(writers, w)
	}
	os.Stdout.Close() // ready
	for _, w := range writers {
		go w.run()
	}
	select {}
}

func alignedPages() []byte {
	p, err := syscall.Mmap(-1, 0, 16<<10, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	return p
}

// A writer is a thread of production: it changes dir at random. It ignores
// errors, which only mean that a name was not there.
type writer struct {
	dir    string
	r      *rand.Rand
	direct []byte // for O_DIRECT
	maps   []mapping
	open   []*os.File // of unlinked files
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
	w.fill(p)
	return p
}

func (w *writer) fill(p []byte) {
	x := w.r.Uint64()
	for i := range p {
		x = x*6364136223846793005 + 1442695040888963407
		p[i] = byte(x >> 56)
	}
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
	switch op := w.r.IntN(32); op {
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
	case 24, 25:
		w.with(path, os.O_RDWR|os.O_CREATE|syscall.O_DIRECT, func(f *os.File) {
			w.fill(w.direct)
			f.WriteAt(w.direct, at&^4095)
		})
	case 26: // long enough for a look to fall into it
		w.with(path, os.O_RDWR|os.O_CREATE, func(f *os.File) { f.WriteAt(w.bytes(maxFile), 0) })
	case 27:
		mode := []uint32{0x08, 0x20}[w.r.IntN(2)] // collapse, insert
		w.with(path, os.O_RDWR, func(f *os.File) {
			if fi, err := f.Stat(); err == nil && fi.Size() < maxFile {
				syscall.Fallocate(int(f.Fd()), mode, at&^4095, 4096)
			}
		})
	case 28:
		syscall.Setxattr(path, "system.posix_acl_access", acl(uint16(w.r.IntN(8)), uint32(w.r.IntN(5))), 0)
		syscall.Setxattr(path, "trusted.k", w.bytes(20), 0)
	case 29:
		w.with(path, os.O_RDWR, func(f *os.File) { syscall.Fdatasync(int(f.Fd())) })
	case 30: // out of the page cache, as when memory runs short
		const dontNeed = 4 // POSIX_FADV_DONTNEED
		w.with(path, os.O_RDWR, func(f *os.File) { syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0) })
	case 31:
		w.with(path, os.O_RDONLY, func(f *os.File) { syscall.Read(int(f.Fd()), make([]byte, maxFile)) })
	}
}

// acl is an access list with an entry for user, acl(5) and
// include/uapi/linux/posix_acl_xattr.h.
func acl(perm uint16, user uint32) []byte {
	p := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, math.MaxUint32}, {2, perm, user}, {4, 4, math.MaxUint32}, {16, perm | 4, math.MaxUint32}, {32, 0, math.MaxUint32}} {
		p = binary.LittleEndian.AppendUint16(p, e.tag)
		p = binary.LittleEndian.AppendUint16(p, e.perm)
		p = binary.LittleEndian.AppendUint32(p, e.id)
	}
	return p
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
	// Another thread may truncate the file: the store then is a fault.
	debug.SetPanicOnFault(true)
	defer func() { _ = recover() }()
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

func (w *writer) run() {
	for {
		w.step()
		if w.r.IntN(4) == 0 {
			time.Sleep(time.Duration(w.r.IntN(100)) * time.Microsecond)
		}
	}
}
