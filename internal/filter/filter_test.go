package filter

import (
	"encoding/binary"
	"strings"
	"testing"
)

func k(code uint16, value uint32) Instruction { return Instruction{Code: code, K: value} }

func branch(code uint16, value uint32, jt, jf uint8) Instruction {
	return Instruction{code, jt, jf, value}
}

var sample = Call{
	Nr: 56, Arch: ArchAMD64, IP: 0x7f0011223344,
	Args: [6]uint64{0xaaaa_bbbb_cccc_dddd, 1, 2, 3, 4, 0x1234_5678_9abc_def0},
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Program
		want Action
	}{
		{"constant", Program{k(ret, 7)}, 7},
		{"number", Program{k(ld|abs, 0), k(ret|srcA, 0)}, 56},
		{"arch", Program{k(ld|abs, 4), k(ret|srcA, 0)}, ArchAMD64},
		{"address", Program{k(ld|abs, 8), k(ret|srcA, 0)}, 0x11223344},
		{"address, upper half", Program{k(ld|abs, 12), k(ret|srcA, 0)}, 0x7f00},
		{"first argument", Program{k(ld|abs, 16), k(ret|srcA, 0)}, 0xccccdddd},
		{"first argument, upper half", Program{k(ld|abs, 20), k(ret|srcA, 0)}, 0xaaaabbbb},
		{"last argument", Program{k(ld|abs, 60), k(ret|srcA, 0)}, 0x12345678},
		{"size", Program{k(ld|length, 0), k(ret|srcA, 0)}, 64},
		{"size in X", Program{k(ldx|length, 0), k(misc|txa, 0), k(ret|srcA, 0)}, 64},
		{"memory", Program{k(ld|imm, 9), k(st, 15), k(ld|imm, 0), k(ld|mem, 15), k(ret|srcA, 0)}, 9},
		{"memory of X", Program{k(ldx|imm, 9), k(stx, 3), k(ldx|imm, 0), k(ldx|mem, 3), k(misc|txa, 0), k(ret|srcA, 0)}, 9},
		{"A to X", Program{k(ld|imm, 3), k(misc, 0), k(ld|imm, 4), k(alu|add|srcX, 0), k(ret|srcA, 0)}, 7},
		{"arithmetic", Program{k(ld|imm, 10), k(alu|sub, 3), k(alu|mul, 6), k(alu|div, 4), k(alu|lsh, 4), k(alu|rsh, 1), k(alu|or, 1), k(alu|and, 0xff), k(alu|xor, 2), k(ret|srcA, 0)}, 83},
		{"negation", Program{k(ld|imm, 1), k(alu|neg, 0), k(ret|srcA, 0)}, 0xffffffff},
		{"division by X of 0", Program{k(ld|imm, 1), k(alu|div|srcX, 0), k(ret, 7)}, KillThread},
		{"equal", Program{k(ld|imm, 5), branch(jmp|jeq, 5, 1, 0), k(ret, 1), k(ret, 2)}, 2},
		{"not equal", Program{k(ld|imm, 5), branch(jmp|jeq, 6, 1, 0), k(ret, 1), k(ret, 2)}, 1},
		{"greater, unsigned", Program{k(ld|imm, 0xffffffff), branch(jmp|jgt, 1, 1, 0), k(ret, 1), k(ret, 2)}, 2},
		{"not greater", Program{k(ld|imm, 5), branch(jmp|jgt, 5, 1, 0), k(ret, 1), k(ret, 2)}, 1},
		{"greater or equal", Program{k(ld|imm, 5), branch(jmp|jge, 5, 1, 0), k(ret, 1), k(ret, 2)}, 2},
		{"some bits", Program{k(ld|imm, 6), branch(jmp|jset, 4, 1, 0), k(ret, 1), k(ret, 2)}, 2},
		{"no bits", Program{k(ld|imm, 6), branch(jmp|jset, 9, 1, 0), k(ret, 1), k(ret, 2)}, 1},
		{"compared with X", Program{k(ldx|imm, 5), k(ld|imm, 5), branch(jmp|jeq|srcX, 0, 1, 0), k(ret, 1), k(ret, 2)}, 2},
		{"far", Program{k(jmp|ja, 2), k(ret, 1), k(ret, 2), k(ret, 3)}, 3},
	} {
		if got, err := c.p.Run(sample); err != nil || got != c.want {
			t.Errorf("%s: %#x, %v; want %#x", c.name, uint32(got), err, uint32(c.want))
		}
	}
}

func TestRunFails(t *testing.T) {
	for name, p := range map[string]Program{
		"empty":               {},
		"no end":              {k(ld|imm, 1)},
		"jump past the end":   {k(jmp|ja, 1), k(ret, 0)},
		"jump around":         {k(jmp|ja, 0xffffffff), k(ret, 0)},
		"load of a byte":      {k(ld|abs|0x10, 0), k(ret, 0)},
		"unaligned":           {k(ld|abs, 2), k(ret, 0)},
		"outside of the data": {k(ld|abs, 64), k(ret, 0)},
		"indirect":            {k(ld|0x40, 0), k(ret, 0)},
		"outside of memory":   {k(st, 16), k(ret, 0)},
		"modulo":              {k(alu|0x90, 3), k(ret, 0)},
		"jump of no kind":     {k(jmp|0x50, 3), k(ret, 0)},
		"return of X":         {k(ret|srcX, 0)},
	} {
		if got, err := p.Run(sample); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDecide(t *testing.T) {
	always := func(a Action) Program { return Program{k(ret, uint32(a))} }
	for _, c := range []struct {
		all  []Action
		want Action
	}{
		{nil, Allow},
		{[]Action{Allow, Log}, Log},
		{[]Action{Trace, Errno | 13, Allow}, Errno | 13},
		{[]Action{Errno | 1, Trap}, Trap},
		{[]Action{Notify, Trace}, Notify},
		{[]Action{KillThread, Trap}, KillThread},
		{[]Action{KillThread, KillProcess, Errno}, KillProcess},
	} {
		var all []Program
		for _, a := range c.all {
			all = append(all, always(a))
		}
		if got, err := Decide(all, sample); err != nil || got != c.want {
			t.Errorf("%v: %v, %v; want %v", c.all, got, err, c.want)
		}
	}
	if _, err := Decide([]Program{always(KillProcess), {}}, sample); err == nil {
		t.Error("a filter that cannot be run was passed over")
	}
}

func TestActions(t *testing.T) {
	for a, says := range map[Action]string{
		Allow: "allows", Log: "logs", Errno | 38: "errno 38", Trap: "SIGSYS", Trace: "tracer",
		Notify: "supervisor", KillThread: "kills the thread", KillProcess: "kills the process", 0x11110000: "kills the process",
	} {
		if !strings.Contains(a.String(), says) {
			t.Errorf("%#x %s", uint32(a), a)
		}
		if want := a == Allow || a == Log; a.Permits() != want {
			t.Errorf("%v permits: %v", a, a.Permits())
		}
	}
}

func TestNotifies(t *testing.T) {
	for want, all := range map[bool][]Program{
		true:  {{k(ret, uint32(Allow)), k(ret, uint32(Notify))}, {k(ret|srcA, 0)}},
		false: {{k(ret, uint32(Allow)), k(ret, uint32(Errno|1))}},
	} {
		for _, p := range all {
			if p.Notifies() != want {
				t.Errorf("%v: %v", p, !want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	got, err := Parse([]byte{0x15, 0, 1, 2, 0x44, 0x33, 0x22, 0x11})
	if err != nil || len(got) != 1 || got[0] != (Instruction{0x15, 1, 2, 0x11223344}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, raw := range [][]byte{nil, {1, 2, 3}, make([]byte, 8*4097)} {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%d bytes are taken", len(raw))
		}
	}
}

// FuzzRun wants every program to end, with the same answer each time, and a
// second filter to make it stricter only.
func FuzzRun(f *testing.F) {
	le := binary.LittleEndian
	add := func(p Program) {
		var raw []byte
		for _, i := range p {
			raw = append(le.AppendUint16(raw, i.Code), i.JT, i.JF)
			raw = le.AppendUint32(raw, i.K)
		}
		f.Add(raw, uint32(56), uint64(17))
	}
	add(Program{k(ld|abs, 0), branch(jmp|jeq, 56, 0, 1), k(ret, uint32(Allow)), k(ret, uint32(Errno))})
	add(Program{k(ld|imm, 5), k(st, 3), k(ldx|mem, 3), k(alu|div|srcX, 0), k(jmp|ja, 1), k(ret, 0), k(ret|srcA, 0)})
	f.Fuzz(func(t *testing.T, raw []byte, nr uint32, arg uint64) {
		p, err := Parse(raw)
		if err != nil {
			return
		}
		c := Call{Nr: int32(nr), Arch: ArchAMD64, Args: [6]uint64{arg, ^arg}}
		a, err := p.Run(c)
		b, again := p.Run(c)
		if a != b || (err == nil) != (again == nil) {
			t.Fatalf("%v, %v and then %v, %v", a, err, b, again)
		}
		if err != nil {
			return
		}
		both, err := Decide([]Program{p, {k(ret, uint32(Trap))}}, c)
		if err != nil || int32(both&actionMask) > int32(a&actionMask) || int32(both&actionMask) > int32(Trap) {
			t.Fatalf("%v with a trap is %v, %v", a, both, err)
		}
		if a&actionMask == Notify && !p.Notifies() {
			t.Fatal("a call to a supervisor was not foreseen")
		}
	})
}
