// Package filter tells what seccomp filters say of a system call, without
// making it. It is pure: programs and calls are data.
//
// A seccomp filter is a classic BPF program over struct seccomp_data, seccomp(2)
// and Documentation/networking/filter.rst in the kernel. Whatever this package
// does not know is an error, so that a caller can fail closed.
package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An Instruction is a struct sock_filter, include/uapi/linux/filter.h.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// A Program is one filter.
type Program []Instruction

// A Call is a struct seccomp_data, include/uapi/linux/seccomp.h.
type Call struct {
	Nr   int32
	Arch uint32
	// IP is the address behind the system call's instruction.
	IP   uint64
	Args [6]uint64
}

// ArchAMD64 is AUDIT_ARCH_X86_64, include/uapi/linux/audit.h.
const ArchAMD64 = 0xc000003e

// dataSize is the size of struct seccomp_data.
const dataSize = 64

// words lays c out as the program loads it: in the machine's order of words.
func (c Call) words() (w [dataSize / 4]uint32) {
	w[0], w[1] = uint32(c.Nr), c.Arch
	w[2], w[3] = uint32(c.IP), uint32(c.IP>>32)
	for i, a := range c.Args {
		w[4+2*i], w[5+2*i] = uint32(a), uint32(a>>32)
	}
	return w
}

var (
	errEnd   = errors.New("the program runs past its end")
	errShape = errors.New("not an array of struct sock_filter")
)

// maxLength is BPF_MAXINSNS, include/uapi/linux/bpf_common.h.
const maxLength = 4096

// Parse reads an array of struct sock_filter in little-endian order.
func Parse(raw []byte) (Program, error) {
	const size = 8
	if len(raw) == 0 || len(raw)%size != 0 || len(raw)/size > maxLength {
		return nil, fmt.Errorf("%d bytes: %w", len(raw), errShape)
	}
	p := make(Program, len(raw)/size)
	for i := range p {
		b := raw[i*size:]
		p[i] = Instruction{binary.LittleEndian.Uint16(b), b[2], b[3], binary.LittleEndian.Uint32(b[4:])}
	}
	return p, nil
}

// Decide returns what the filters of a thread together say of c: all of them
// run, and the strictest answer wins. Without a filter everything is allowed.
func Decide(all []Program, c Call) (Action, error) {
	result := Allow
	for _, p := range all {
		a, err := p.Run(c)
		if err != nil {
			return 0, err
		}
		// include/uapi/linux/seccomp.h orders the actions as signed numbers.
		if int32(a&actionMask) < int32(result&actionMask) {
			result = a
		}
	}
	return result, nil
}

// Notifies reports whether the program may hand calls to a supervisor, or
// cannot be seen not to.
func (p Program) Notifies() bool {
	for _, i := range p {
		if i.Code == ret|srcA || i.Code == ret && Action(i.K)&actionMask == Notify {
			return true
		}
	}
	return false
}
