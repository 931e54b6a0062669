//go:build linux

// Package unwind tells where a thread is that waits in a system call: its call
// stack with the names of functions, read from outside without stopping it.
//
// It follows frame pointers, which Go keeps and many C programs do not; of code
// without them only the innermost frames are known. The kernel does not tell the
// innermost frame pointer, so the first frame is searched for: now and then one
// that is left from an earlier call comes first.
package unwind

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pilotexec/pilot/internal/procfs"
)

// maxFrames bounds a stack, and maxStack how much of it is read, in bytes.
const (
	maxFrames = 32
	maxStack  = 64 << 10
)

// Stack returns the frames of thread tid, innermost first, as "function
// (file:line)" where that is known. The thread must be in a system call for as
// long as this takes. names keeps what was read of programs.
func Stack(tid int, names *Names) ([]string, error) {
	sp, pc, err := position(tid)
	if err != nil {
		return nil, err
	}
	vmas, err := procfs.Maps(tid)
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	s := stack{base: sp, vmas: vmas, code: func(addr uint64, buf []byte) bool {
		_, err := mem.ReadAt(buf, int64(addr))
		return err == nil
	}}
	s.entry = func(addr uint64) (uint64, bool) {
		v, ok := s.find(addr)
		if !ok {
			return 0, false
		}
		return names.entry(tid, v, addr)
	}
	if v, ok := s.find(sp); ok {
		s.bytes = make([]byte, min(v.End-sp, maxStack))
		if _, err := mem.ReadAt(s.bytes, int64(sp)); err != nil {
			return nil, err
		}
	}
	var out []string
	for i, at := range s.frames(pc) {
		v, ok := s.find(at)
		if !ok {
			continue
		}
		if i > 0 {
			at-- // a return address may be the first of the next function
		}
		out = append(out, names.of(tid, v, at))
	}
	return out, nil
}

// position reads where a thread that waits in the kernel has left its program,
// proc_pid_syscall(5).
func position(tid int) (sp, pc uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return 0, 0, fmt.Errorf("tid %d: in no system call", tid)
	}
	if sp, err = strconv.ParseUint(fields[len(fields)-2], 0, 64); err != nil {
		return 0, 0, err
	}
	pc, err = strconv.ParseUint(fields[len(fields)-1], 0, 64)
	return sp, pc, err
}

// A stack is the used part of a thread's stack, from its stack pointer on.
type stack struct {
	base  uint64
	bytes []byte
	vmas  []procfs.VMA
	code  func(addr uint64, buf []byte) bool
	// entry finds where the function of an address begins, if that is known.
	entry func(addr uint64) (uint64, bool)
}

func (s *stack) find(addr uint64) (procfs.VMA, bool) {
	for _, v := range s.vmas {
		if v.Start <= addr && addr < v.End {
			return v, true
		}
	}
	return procfs.VMA{}, false
}

// word reads the stack at addr.
func (s *stack) word(addr uint64) (uint64, bool) {
	at := addr - s.base
	if addr < s.base || addr%8 != 0 || at+8 > uint64(len(s.bytes)) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(s.bytes[at:]), true
}

// frames returns return addresses, innermost first.
func (s *stack) frames(pc uint64) []uint64 {
	out := []uint64{pc}
	// The stub that makes the call has no frame: its caller is on top.
	first := s.base
	if caller, ok := s.word(s.base); ok && s.returns(caller) {
		out = append(out, caller)
		first += 8
	}
	// A word that is left from an earlier call may look like the end of a frame. It
	// mostly leads less far, or to the same frames; but where the next frame calls
	// the function of the last one, it is the next.
	var best []uint64
	for at := first; at < first+searched; at += 8 {
		chain := s.chain(at)
		if len(chain) >= 2 && s.calls(chain[0], out[len(out)-1]) {
			best = chain
			break
		}
		if len(chain) > len(best) {
			best = chain
		}
	}
	if len(best) >= 2 {
		out = append(out, best...)
	}
	return out[:min(len(out), maxFrames)]
}

// searched is how far up the stack the innermost frame may end, in bytes.
const searched = 512

// chain follows saved frame pointers from at, where one is thought to be. It
// returns nothing when what it finds is no chain.
func (s *stack) chain(at uint64) (out []uint64) {
	for len(out) < maxFrames {
		next, ok := s.word(at)
		caller, ok2 := s.word(at + 8)
		if !ok || !ok2 || !s.returns(caller) {
			break
		}
		out = append(out, caller)
		if next <= at {
			break // the outermost frame has 0
		}
		at = next
	}
	return out
}

// calls reports whether the call before the return address ret leads to the function
// that inner is in. It cannot tell of calls by pointers.
func (s *stack) calls(ret, inner uint64) bool {
	const length = 5 // call rel32
	var b [length]byte
	if s.entry == nil || !s.code(ret-length, b[:]) || b[0] != 0xe8 {
		return false
	}
	entry, ok := s.entry(inner)
	return ok && entry == ret+uint64(int32(binary.LittleEndian.Uint32(b[1:])))
}

// returns reports whether addr follows a call instruction.
func (s *stack) returns(addr uint64) bool {
	v, ok := s.find(addr)
	if !ok || !v.Exec || addr < v.Start+7 {
		return false
	}
	var b [7]byte
	if !s.code(addr-7, b[:]) {
		return false
	}
	switch {
	case b[2] == 0xe8: // call rel32
		return true
	case b[5] == 0xff && b[6]&0x38 == 0x10, b[4] == 0xff && b[5]&0x38 == 0x10, // call *reg, *8(reg)
		b[1] == 0xff && b[2]&0x38 == 0x10, b[0] == 0xff && b[1]&0x38 == 0x10,
		b[3] == 0xff && b[4]&0x38 == 0x10:
		return true
	}
	return false
}

// Generated is how the names of functions begin that are in no file, and that
// nobody names.
const Generated = "[generated code]"

// module is what a mapping is called in a frame that has no name.
func module(v procfs.VMA) string {
	if v.Path == "" {
		return Generated
	}
	name := v.Path[strings.LastIndexByte(v.Path, '/')+1:]
	return string(bytes.ToValidUTF8([]byte(name), []byte("?")))
}
