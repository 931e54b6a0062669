//go:build linux

package trace

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// A program is code in the making. In all of them R6 is the context, R7 the
// record, and R8 and R9 are kept across calls.
type program struct {
	code   asm.Instructions
	label  string // of the next instruction
	labels int
	l      *layout
	m      *maps
}

const (
	ctx  = asm.R6
	rec  = asm.R7
	fp   = asm.RFP
	out  = "out"
	word = asm.Word
	quad = asm.DWord
)

func (p *program) add(all ...asm.Instruction) {
	for _, i := range all {
		if p.label != "" {
			i = i.WithSymbol(p.label)
			p.label = ""
		}
		p.code = append(p.code, i)
	}
}

// here names the next instruction.
func (p *program) here(label string) {
	if p.label != "" { // two names for one place
		p.add(asm.Ja.Label(label))
	}
	p.label = label
}

// fresh makes a name for a place.
func (p *program) fresh(name string) string {
	p.labels++
	return fmt.Sprintf("%s%d", name, p.labels)
}

// read copies size bytes of the kernel from address src+from to base+to.
func (p *program) read(base asm.Register, to int32, size int32, src asm.Register, from int32) {
	p.add(
		asm.Mov.Reg(asm.R3, src), asm.Add.Imm(asm.R3, from),
		asm.Mov.Reg(asm.R1, base), asm.Add.Imm(asm.R1, to),
		asm.Mov.Imm(asm.R2, size), asm.FnProbeReadKernel.Call())
}

// follow reads a pointer of the kernel to dst, by the stack at slot. It leaves
// when the pointer is nil.
func (p *program) follow(dst asm.Register, slot int16, src asm.Register, from int32, otherwise string) {
	p.read(fp, int32(slot), 8, src, from)
	p.add(asm.LoadMem(dst, fp, slot, quad), asm.JEq.Imm(dst, 0, otherwise))
}

// lookup finds the value of the key at slot: R0, or 0.
func (p *program) lookup(m int, slot int16) {
	p.add(asm.LoadMapPtr(asm.R1, m), asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, int32(slot)), asm.FnMapLookupElem.Call())
}

// Slots on the stack.
const (
	slotKey   = -8
	slotPID   = -16
	slotLevel = -24
	slotUpid  = -40 // struct upid
	slotInum  = -48
	slotWorld = -56
	slotPlace = -64
	slotA     = -72
	slotB     = -80
	slotC     = -88
	slotD     = -96
	slotFile  = -112 // the key of the map of files: 16 bytes
	slotZero  = -288 // a value of the map of sockets
)

// agentSpace stands in the map of pid namespaces for the agent's own.
const agentSpace = 0x7fffffff

// deepest bounds how far pid namespaces are followed.
const deepest = 6

// world goes on when the task in R9 is in a world, and leaves otherwise. It
// fills the slots World, Level, and Place: where the agent's number of the task is.
func (p *program) world(task asm.Register, otherwise string) {
	l, found := p.l, p.fresh("found")
	p.add(
		asm.LoadMem(asm.R1, task, int16(l.taskPID), quad), asm.JEq.Imm(asm.R1, 0, otherwise),
		asm.StoreMem(fp, slotPID, asm.R1, quad), asm.Mov.Imm(asm.R2, 0), asm.StoreMem(fp, slotPlace, asm.R2, quad),
		asm.LoadMem(asm.R2, asm.R1, int16(l.pidLevel), word), asm.JEq.Imm(asm.R2, 0, otherwise),
		asm.StoreMem(fp, slotLevel, asm.R2, quad))
	for i := int32(0); i <= deepest; i++ {
		next := p.fresh("level")
		p.add(asm.LoadMem(asm.R2, fp, slotLevel, quad), asm.JLT.Imm(asm.R2, i, otherwise),
			asm.LoadMem(asm.R4, fp, slotPID, quad))
		p.read(fp, slotUpid, 16, asm.R4, l.pidNumbers+16*i)
		p.add(asm.LoadMem(asm.R4, fp, slotUpid+8, quad))
		p.read(fp, slotInum, 4, asm.R4, l.spaceInum)
		p.lookup(p.m.spaces.FD(), slotInum)
		p.add(asm.JEq.Imm(asm.R0, 0, next),
			asm.LoadMem(asm.R1, asm.R0, 0, word), asm.JNE.Imm(asm.R1, agentSpace, found),
			asm.Mov.Imm(asm.R1, 16*i), asm.StoreMem(fp, slotPlace, asm.R1, quad))
		p.here(next)
	}
	p.add(asm.Ja.Label(otherwise))
	p.here(found)
	p.add(asm.LoadMem(asm.R1, asm.R0, 0, word), asm.StoreMem(fp, slotWorld, asm.R1, quad))
}

// record gets the record, and fills in when, where and who: the task in R9.
func (p *program) record(scratch int, kind int32) {
	p.add(asm.StoreImm(fp, slotKey, 0, word))
	p.lookup(scratch, slotKey)
	p.add(asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Reg(rec, asm.R0))
	p.clear(kind)
	p.add(asm.LoadMem(asm.R1, fp, slotWorld, quad), asm.StoreMem(rec, atWorld, asm.R1, word))
	p.number(asm.R9, atTID)
	p.add(asm.LoadMem(asm.R4, asm.R9, int16(p.l.taskLeader), quad), asm.JEq.Imm(asm.R4, 0, out), asm.StoreMem(fp, slotA, asm.R4, quad))
	p.number(asm.R4, atPID)
	p.add(asm.LoadMem(asm.R4, fp, slotA, quad))
	p.hostNumber(asm.R4, atHostPID)
}

// clear fills in when and what, and forgets the record before.
func (p *program) clear(kind int32) {
	p.add(asm.FnKtimeGetNs.Call(), asm.StoreMem(rec, atTime, asm.R0, quad))
	p.add(asm.StoreImm(rec, atKind, int64(kind), word), asm.StoreImm(rec, atStack, -1, word))
	for _, at := range []int16{atTask, atParent, atStart} {
		p.add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(rec, at, asm.R5, quad))
	}
	for at := int16(atRet); at < atStack; at += 8 {
		p.add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(rec, at, asm.R5, quad))
	}
	p.add(asm.StoreImm(rec, atOther, 0, word))
}

// number writes what a task is called by itself: in a container, by the container.
func (p *program) number(task asm.Register, to int32) {
	p.follow(asm.R4, slotUpid, task, p.l.taskPID, out)
	p.add(asm.LoadMem(asm.R3, fp, slotLevel, quad), asm.LSh.Imm(asm.R3, 4), asm.Add.Reg(asm.R4, asm.R3))
	p.read(rec, to, 4, asm.R4, p.l.pidNumbers)
}

// hostNumber writes what the agent calls it.
func (p *program) hostNumber(task asm.Register, to int32) {
	p.follow(asm.R4, slotUpid, task, p.l.taskPID, out)
	p.add(asm.LoadMem(asm.R3, fp, slotPlace, quad), asm.Add.Reg(asm.R4, asm.R3))
	p.read(rec, to, 4, asm.R4, p.l.pidNumbers)
}

// emit hands size bytes of the record to the agent.
func (p *program) emit(size int32, flags int32) {
	done := p.fresh("emitted")
	p.add(asm.LoadMapPtr(asm.R1, p.m.ring.FD()), asm.Mov.Reg(asm.R2, rec), asm.Mov.Imm(asm.R3, size),
		asm.Mov.Imm(asm.R4, flags), asm.FnRingbufOutput.Call(), asm.JEq.Imm(asm.R0, 0, done))
	p.add(asm.StoreImm(fp, slotKey, 0, word))
	p.lookup(p.m.lost.FD(), slotKey)
	p.add(asm.JEq.Imm(asm.R0, 0, done), asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R0, asm.R1, quad, 0))
	p.here(done)
}

// emitAll hands over the record with its stack, if it has one.
func (p *program) emitAll(level Level) {
	if level != Full {
		p.emit(shortSize, noWakeup)
		return
	}
	none, done := p.fresh("stackless"), p.fresh("told")
	p.add(asm.LoadMem(asm.R1, rec, atStack, word), asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32), asm.JSLE.Imm(asm.R1, 0, none))
	p.emit(stackSize, noWakeup)
	p.add(asm.Ja.Label(done))
	p.here(none)
	p.emit(shortSize, noWakeup)
	p.here(done)
}

// atomic is an atomic operation of which the result is wanted. The assembler
// takes the constant that says so from the instruction, not from its code.
func atomic(op asm.AtomicOp, dst, src asm.Register, at int16) asm.Instruction {
	i := op.Mem(dst, src, quad, at)
	i.Constant = int64(op >> 8)
	return i
}

// Flags of bpf_ringbuf_output, include/uapi/linux/bpf.h. The agent looks by
// itself now and then: it is woken only for what will not wait.
const (
	noWakeup    = 1
	forceWakeup = 2
)

// end finishes the program.
func (p *program) end() asm.Instructions {
	p.here(out)
	p.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return p.code
}
