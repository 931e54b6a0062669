package filter

import "fmt"

// Parts of an instruction's code, include/uapi/linux/bpf_common.h and filter.h.
const (
	ld, ldx, st, stx, alu, jmp, ret, misc = 0, 1, 2, 3, 4, 5, 6, 7 // class

	imm, abs, mem, length = 0x00, 0x20, 0x60, 0x80 // mode of a load; its size W is 0

	add, sub, mul, div, or, and, lsh, rsh, neg, xor = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0xa0

	ja, jeq, jgt, jge, jset = 0x00, 0x10, 0x20, 0x30, 0x40

	srcX = 0x08 // the operand is X, not K
	srcA = 0x10 // of ret: the value is A
	txa  = 0x80 // of misc: A = X, not X = A
)

// machine is the state of a running program.
type machine struct {
	a, x uint32
	m    [16]uint32
	data [dataSize / 4]uint32
}

// Run returns the program's answer to c. Jumps lead forward only, so that it
// ends.
func (p Program) Run(c Call) (Action, error) {
	v := machine{data: c.words()}
	for pc := 0; pc < len(p); pc++ {
		i := p[pc]
		switch i.Code & 7 {
		case ret:
			switch i.Code {
			case ret:
				return Action(i.K), nil
			case ret | srcA:
				return Action(v.a), nil
			}
			return 0, i.unknown()
		case jmp:
			skip, err := v.jump(i)
			if err != nil {
				return 0, err
			}
			if skip > uint32(len(p)) {
				return 0, errEnd
			}
			pc += int(skip)
		case alu:
			killed, err := v.compute(i)
			if err != nil {
				return 0, err
			}
			if killed {
				return KillThread, nil
			}
		default:
			if err := v.move(i); err != nil {
				return 0, err
			}
		}
	}
	return 0, errEnd
}

func (i Instruction) unknown() error { return fmt.Errorf("unknown instruction %#x, %#x", i.Code, i.K) }

// jump returns how many instructions are passed over.
func (v *machine) jump(i Instruction) (uint32, error) {
	if i.Code == jmp|ja {
		return i.K, nil
	}
	operand := i.K
	if i.Code&srcX != 0 {
		operand = v.x
	}
	var holds bool
	switch i.Code &^ srcX {
	case jmp | jeq:
		holds = v.a == operand
	case jmp | jgt:
		holds = v.a > operand
	case jmp | jge:
		holds = v.a >= operand
	case jmp | jset:
		holds = v.a&operand != 0
	default:
		return 0, i.unknown()
	}
	if holds {
		return uint32(i.JT), nil
	}
	return uint32(i.JF), nil
}

// compute changes A. A division by an X of 0 ends the program with 0, which
// kills (net/core/filter.c, bpf_convert_filter).
func (v *machine) compute(i Instruction) (killed bool, err error) {
	operand := i.K
	if i.Code&srcX != 0 {
		operand = v.x
	}
	switch i.Code &^ srcX {
	case alu | add:
		v.a += operand
	case alu | sub:
		v.a -= operand
	case alu | mul:
		v.a *= operand
	case alu | div:
		if operand == 0 {
			return true, nil
		}
		v.a /= operand
	case alu | or:
		v.a |= operand
	case alu | and:
		v.a &= operand
	case alu | xor:
		v.a ^= operand
	case alu | lsh:
		v.a <<= operand & 31
	case alu | rsh:
		v.a >>= operand & 31
	case alu | neg:
		v.a = -v.a
	default:
		return false, i.unknown()
	}
	return false, nil
}

// move loads, stores and copies registers.
func (v *machine) move(i Instruction) error {
	switch i.Code {
	case ld | abs:
		if i.K%4 != 0 || i.K >= dataSize {
			return i.unknown()
		}
		v.a = v.data[i.K/4]
	case ld | length:
		v.a = dataSize
	case ldx | length:
		v.x = dataSize
	case ld | imm:
		v.a = i.K
	case ldx | imm:
		v.x = i.K
	case misc:
		v.x = v.a
	case misc | txa:
		v.a = v.x
	case ld | mem, ldx | mem, st, stx:
		if i.K >= uint32(len(v.m)) {
			return i.unknown()
		}
		switch i.Code {
		case ld | mem:
			v.a = v.m[i.K]
		case ldx | mem:
			v.x = v.m[i.K]
		case st:
			v.m[i.K] = v.a
		case stx:
			v.m[i.K] = v.x
		}
	default:
		return i.unknown()
	}
	return nil
}
