//go:build linux

package tracee

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/pilotexec/pilot/internal/procfs"
)

// Gadgets are addresses of instruction sequences in a tracee's own code, so
// that nothing executable is ever written to production.
type Gadgets struct {
	Syscall  Addr // syscall; ret
	Restorer Addr // mov $15, %eax; syscall: what a signal handler returns to
}

var (
	syscallRet = []byte{0x0f, 0x05, 0xc3}
	restorers  = [][]byte{
		{0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05},
		{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05},
	}

	errNoGadget = errors.New("no usable system call instruction found in its code")
)

// gadgetCache remembers what each file offers, by device, inode and the part
// that is mapped. A file that is replaced gets another inode.
var gadgetCache sync.Map // gadgetKey -> gadgetOffsets

type gadgetKey struct {
	dev, ino, off, size uint64
}

// gadgetOffsets are relative to the start of a mapping, -1 where there is none.
type gadgetOffsets struct{ syscall, restorer int }

// findGadgets searches the executable mappings of a process, the C library first.
func findGadgets(mem *os.File, vmas []procfs.VMA) (Gadgets, error) {
	var g Gadgets
	for _, libc := range []bool{true, false} {
		for _, v := range vmas {
			if !v.Exec || v.Inode == 0 || isLibc(v.Path) != libc {
				continue
			}
			found, err := scanMapping(mem, v)
			if err != nil {
				return g, err
			}
			if g.Syscall == 0 && found.syscall >= 0 {
				g.Syscall = Addr(v.Start) + Addr(found.syscall)
			}
			if g.Restorer == 0 && found.restorer >= 0 {
				g.Restorer = Addr(v.Start) + Addr(found.restorer)
			}
			if g.Syscall != 0 && g.Restorer != 0 {
				return g, nil
			}
		}
	}
	return g, fmt.Errorf("find gadgets: %w", errNoGadget)
}

func isLibc(path string) bool {
	return strings.Contains(path, "/libc.so") || strings.Contains(path, "/libc-") || strings.Contains(path, "/ld-musl")
}

func scanMapping(mem *os.File, v procfs.VMA) (gadgetOffsets, error) {
	key := gadgetKey{v.Dev, v.Inode, v.Offset, v.End - v.Start}
	if cached, ok := gadgetCache.Load(key); ok {
		return cached.(gadgetOffsets), nil
	}
	code := make([]byte, v.End-v.Start)
	if err := readMem(mem, Addr(v.Start), code); err != nil {
		return gadgetOffsets{}, err
	}
	found := gadgetOffsets{syscall: bytes.Index(code, syscallRet), restorer: -1}
	for _, r := range restorers {
		if i := bytes.Index(code, r); i >= 0 {
			found.restorer = i
			break
		}
	}
	gadgetCache.Store(key, found)
	return found, nil
}
