//go:build linux

package image

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lazyPage is memory whose second page is missing until it is provided: who
// reads it waits. See userfaultfd(2), include/uapi/linux/userfaultfd.h.
type lazyPage struct {
	mem []byte
	fd  int
}

func newLazyPage(t *testing.T) *lazyPage {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		privileged(t, "userfaultfd: %v", errno)
	}
	t.Cleanup(func() { unix.Close(int(fd)) })
	mem, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(mem) })
	for i := range mem[:4096] {
		mem[i] = 'n'
	}
	p := &lazyPage{mem, int(fd)}
	const api, register = 0xc018aa3f, 0xc020aa00 // UFFDIO_API, UFFDIO_REGISTER
	p.ioctl(t, api, []uint64{0xaa, 0, 0})
	p.ioctl(t, register, []uint64{p.second(), 4096, 1, 0}) // UFFDIO_REGISTER_MODE_MISSING
	return p
}

func (p *lazyPage) second() uint64 { return uint64(uintptr(unsafe.Pointer(&p.mem[4096]))) }

func (p *lazyPage) provide(t *testing.T) {
	const zeropage = 0xc020aa04 // UFFDIO_ZEROPAGE
	p.ioctl(t, zeropage, []uint64{p.second(), 4096, 0, 0})
}

func (p *lazyPage) ioctl(t *testing.T, request uintptr, arg []uint64) {
	t.Helper()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), request, uintptr(unsafe.Pointer(&arg[0]))); errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}

// TestSlowWrite looks at a file within a write(2) that has moved the timestamps
// long ago and has yet to copy its bytes, and will not move them again.
func TestSlowWrite(t *testing.T) {
	onEach(t, func(t *testing.T, base string) {
		path := base + "/src/f"
		write(t, path, strings.Repeat("o", 8192))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		var before, now syscall.Stat_t
		must(t, syscall.Stat(path, &before))
		page := newLazyPage(t)
		written := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(page.mem, 0)
			written <- err
		}()
		for now = before; now.Ctim == before.Ctim; {
			must(t, syscall.Stat(path, &now))
		}
		age()
		var im *Image
		prepared := make(chan error, 1)
		go func() {
			var err error
			im, err = Prepare(context.Background(), base+"/image", []string{base + "/src"})
			prepared <- err
		}()
		select {
		case err = <-prepared: // it did not wait, and must have other means
			prepared <- err
		case <-time.After(100 * time.Millisecond):
		}
		page.provide(t)
		must(t, <-written)
		must(t, <-prepared)
		must(t, im.Freeze(context.Background(), nil, nil))
		mustEqual(t, base+"/src", world(t, im, base+"/world").Roots[0].Path)
		must(t, im.Remove())
	})
}
