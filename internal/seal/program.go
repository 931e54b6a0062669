//go:build linux

package seal

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Places in struct seccomp_data, include/uapi/linux/seccomp.h.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

const (
	load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equals  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	anyBit  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	and     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	ret     = unix.BPF_RET | unix.BPF_K
)

// x32Bit marks calls of the x32 ABI, which has numbers of its own.
const x32Bit = 0x40000000

// Program returns the filter: it stops at what Rules say, and more, and at every
// call of another instruction set than amd64's. All else is let pass, and the kernel
// keeps a table of the calls for which that needs no look at the arguments.
func Program(more ...Rule) []unix.SockFilter {
	stop := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF}
	pass := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	p := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: equals, K: unix.AUDIT_ARCH_X86_64, Jt: 1},
		stop,
		{Code: load, K: dataNr},
		{Code: atLeast, K: x32Bit, Jf: 1},
		stop,
	}
	for _, r := range slices.Concat(Rules, more) {
		body := append(r.body(stop), pass)
		p = append(p, unix.SockFilter{Code: equals, K: r.Nr, Jf: uint8(len(body))})
		p = append(p, body...)
	}
	return append(p, pass)
}

// body looks at the arguments of a call that r is about. What follows it lets
// the call pass.
func (r Rule) body(stop unix.SockFilter) (p []unix.SockFilter) {
	arg := uint32(dataArgs + 8*r.Arg)
	// either adds comparisons with values, the last of which falls through to
	// stop when it holds, and passes over it when it does not.
	either := func(values []uint32) {
		for i, v := range values {
			left := uint8(len(values) - 1 - i)
			f := unix.SockFilter{Code: equals, K: v, Jt: left}
			if left == 0 {
				f.Jf = 1
			}
			p = append(p, f)
		}
	}
	switch r.Test {
	case Equals:
		p = append(p, unix.SockFilter{Code: load, K: arg})
		either(r.Values)
	case Differs:
		p = append(p, unix.SockFilter{Code: load, K: arg})
		for i, v := range r.Values {
			p = append(p, unix.SockFilter{Code: equals, K: v, Jt: uint8(len(r.Values) - i)})
		}
	case HasAny:
		p = append(p, unix.SockFilter{Code: load, K: arg}, unix.SockFilter{Code: anyBit, K: r.Values[0], Jf: 1})
	case Masked:
		p = append(p, unix.SockFilter{Code: load, K: arg}, unix.SockFilter{Code: and, K: r.Values[0]})
		either(r.Values[1:])
	case NotZero:
		p = append(p,
			unix.SockFilter{Code: load, K: arg},
			unix.SockFilter{Code: equals, K: 0, Jf: 2},
			unix.SockFilter{Code: load, K: arg + 4},
			unix.SockFilter{Code: equals, K: 0, Jt: 1})
	}
	return append(p, stop)
}
