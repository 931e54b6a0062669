//go:build linux

package unwind

import (
	"cmp"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/pilotexec/pilot/internal/procfs"
)

// Names finds the names of functions in programs and libraries. It reads each
// file once. The zero value is ready to use, by several goroutines.
type Names struct {
	mu    sync.Mutex // guards what follows
	files map[fileID]*symbols
	maps  map[int]*perfMap // by the thread whose code is named
}

type fileID struct{ dev, ino uint64 }

// symbols are those of one file. Addresses are the file's own.
type symbols struct {
	loads []elf.ProgHeader
	goTab *gosym.Table
	funcs []elf.Symbol // by address
}

// Frames names code addresses of a process whose mappings are vmas, innermost
// first. All but the first are return addresses. It ends at a 0.
func (n *Names) Frames(pid int, vmas []procfs.VMA, pcs []uint64) (out []string) {
	for i, at := range pcs {
		if at == 0 {
			break
		}
		v, ok := (&stack{vmas: vmas}).find(at)
		if !ok {
			continue
		}
		if i > 0 {
			at-- // it may be the first of the next function
		}
		out = append(out, n.of(pid, v, at))
	}
	return out
}

// of names the code at addr of a thread.
func (n *Names) of(tid int, v procfs.VMA, addr uint64) string {
	if v.Inode == 0 {
		if name, found := n.generatedCode(tid, addr); found {
			return name
		}
		return fmt.Sprintf("%s+%#x", module(v), addr-v.Start)
	}
	s := n.file(tid, v)
	if s == nil {
		return fmt.Sprintf("%s+%#x", module(v), addr-v.Start+v.Offset)
	}
	at, ok := s.address(addr - v.Start + v.Offset)
	if ok && s.goTab != nil {
		if file, line, fn := s.goTab.PCToLine(at); fn != nil {
			return fmt.Sprintf("%s (%s:%d)", fn.Name, filepath.Base(file), line)
		}
	}
	if ok {
		if name, found := s.function(at); found {
			return fmt.Sprintf("%s (%s)", name, module(v))
		}
	}
	return fmt.Sprintf("%s+%#x", module(v), addr-v.Start+v.Offset)
}

// entry returns where the function of addr begins.
func (n *Names) entry(tid int, v procfs.VMA, addr uint64) (uint64, bool) {
	if v.Inode == 0 {
		return 0, false
	}
	s := n.file(tid, v)
	if s == nil {
		return 0, false
	}
	at, ok := s.address(addr - v.Start + v.Offset)
	if !ok {
		return 0, false
	}
	if s.goTab != nil {
		if fn := s.goTab.PCToFunc(at); fn != nil {
			return addr - (at - fn.Entry), true
		}
		return 0, false
	}
	if i := s.symbol(at); i >= 0 {
		return addr - (at - s.funcs[i].Value), true
	}
	return 0, false
}

func (n *Names) file(tid int, v procfs.VMA) *symbols {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := fileID{v.Dev, v.Inode}
	if s, known := n.files[id]; known {
		return s
	}
	if n.files == nil {
		n.files = map[fileID]*symbols{}
	}
	s, err := readSymbols(fmt.Sprintf("/proc/%d/map_files/%x-%x", tid, v.Start, v.End))
	if err != nil {
		s = nil
	}
	n.files[id] = s
	return s
}

func readSymbols(path string) (*symbols, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	s := &symbols{}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			s.loads = append(s.loads, p.ProgHeader)
		}
	}
	s.goTab = goTable(f)
	if s.goTab != nil {
		return s, nil
	}
	for _, list := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		all, err := list()
		if err != nil {
			continue // stripped
		}
		for _, sym := range all {
			if elf.ST_TYPE(sym.Info) == elf.STT_FUNC && sym.Value != 0 {
				s.funcs = append(s.funcs, sym)
			}
		}
	}
	slices.SortFunc(s.funcs, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return s, nil
}

// goTable reads Go's own table of functions, which is there in stripped
// programs as well. Position-independent ones have it in a section of another name.
func goTable(f *elf.File) *gosym.Table {
	text := f.Section(".text")
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		section := f.Section(name)
		if section == nil || text == nil {
			continue
		}
		data, err := section.Data()
		if err != nil {
			continue
		}
		if t, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr)); err == nil {
			return t
		}
	}
	return nil
}

// address turns an offset in the file to the address that the file gives it.
func (s *symbols) address(offset uint64) (uint64, bool) {
	for _, p := range s.loads {
		if p.Off <= offset && offset < p.Off+p.Filesz {
			return offset - p.Off + p.Vaddr, true
		}
	}
	return 0, false
}

// function finds the name of the symbol that covers addr.
func (s *symbols) function(addr uint64) (string, bool) {
	if i := s.symbol(addr); i >= 0 {
		return s.funcs[i].Name, true
	}
	return "", false
}

// symbol finds the index of the symbol that covers addr, or -1.
func (s *symbols) symbol(addr uint64) int {
	i, exact := slices.BinarySearchFunc(s.funcs, addr, func(sym elf.Symbol, at uint64) int { return cmp.Compare(sym.Value, at) })
	if !exact {
		i--
	}
	if i >= 0 && s.funcs[i].Size != 0 && addr >= s.funcs[i].Value+s.funcs[i].Size {
		return -1
	}
	return i
}
