//go:build linux

// Package bpf makes small programs for the kernel, bpf(2), and has those for its
// tracepoints run. It knows nothing of what they are for.
package bpf

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// A Code is a program in the making.
type Code struct {
	code   asm.Instructions
	label  string // of the next instruction
	labels int
}

// Add appends instructions.
func (c *Code) Add(all ...asm.Instruction) {
	for _, i := range all {
		if c.label != "" {
			i = i.WithSymbol(c.label)
			c.label = ""
		}
		c.code = append(c.code, i)
	}
}

// Here names the next instruction.
func (c *Code) Here(label string) {
	if c.label != "" { // two names for one place
		c.Add(asm.Ja.Label(label))
	}
	c.label = label
}

// Fresh makes a name for a place.
func (c *Code) Fresh(name string) string {
	c.labels++
	return fmt.Sprintf("%s%d", name, c.labels)
}

// Read copies size bytes of the kernel from address src+from to base+to. Like
// each call it spoils R0 to R5.
func (c *Code) Read(base asm.Register, to, size int32, src asm.Register, from int32) {
	c.Add(
		asm.Mov.Reg(asm.R3, src), asm.Add.Imm(asm.R3, from),
		asm.Mov.Reg(asm.R1, base), asm.Add.Imm(asm.R1, to),
		asm.Mov.Imm(asm.R2, size), asm.FnProbeReadKernel.Call())
}

// Follow reads a pointer of the kernel to dst, by the stack at slot. It goes
// otherwise when the pointer is nil.
func (c *Code) Follow(dst asm.Register, slot int16, src asm.Register, from int32, otherwise string) {
	c.Read(asm.RFP, int32(slot), 8, src, from)
	c.Add(asm.LoadMem(dst, asm.RFP, slot, asm.DWord), asm.JEq.Imm(dst, 0, otherwise))
}

// Lookup finds the value of the key at slot in a map: R0, or 0.
func (c *Code) Lookup(m int, slot int16) {
	c.Add(asm.LoadMapPtr(asm.R1, m), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(slot)), asm.FnMapLookupElem.Call())
}

// Instructions returns the program.
func (c *Code) Instructions() asm.Instructions { return c.code }

// End returns the program, which ends at label out.
func (c *Code) End(out string) asm.Instructions {
	c.Here(out)
	c.Add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return c.code
}
