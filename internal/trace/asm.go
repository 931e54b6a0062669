//go:build linux

package trace

import (
	"github.com/cilium/ebpf/asm"
	"github.com/pilotexec/pilot/internal/bpf"
)

// A program is code in the making. In all of them R6 is the context, R7 the
// record, and R8 and R9 are kept across calls.
type program struct {
	bpf.Code
	l *layout
	m *maps
}

const (
	ctx  = asm.R6
	rec  = asm.R7
	fp   = asm.RFP
	out  = "out"
	word = asm.Word
	quad = asm.DWord
)

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
	l, found := p.l, p.Fresh("found")
	p.Add(
		asm.LoadMem(asm.R1, task, int16(l.taskPID), quad), asm.JEq.Imm(asm.R1, 0, otherwise),
		asm.StoreMem(fp, slotPID, asm.R1, quad), asm.Mov.Imm(asm.R2, 0), asm.StoreMem(fp, slotPlace, asm.R2, quad),
		asm.LoadMem(asm.R2, asm.R1, int16(l.pidLevel), word), asm.JEq.Imm(asm.R2, 0, otherwise),
		asm.StoreMem(fp, slotLevel, asm.R2, quad))
	for i := int32(0); i <= deepest; i++ {
		next := p.Fresh("level")
		p.Add(asm.LoadMem(asm.R2, fp, slotLevel, quad), asm.JLT.Imm(asm.R2, i, otherwise),
			asm.LoadMem(asm.R4, fp, slotPID, quad))
		p.Read(fp, slotUpid, 16, asm.R4, l.pidNumbers+16*i)
		p.Add(asm.LoadMem(asm.R4, fp, slotUpid+8, quad))
		p.Read(fp, slotInum, 4, asm.R4, l.spaceInum)
		p.Lookup(p.m.spaces.FD(), slotInum)
		p.Add(asm.JEq.Imm(asm.R0, 0, next),
			asm.LoadMem(asm.R1, asm.R0, 0, word), asm.JNE.Imm(asm.R1, agentSpace, found),
			asm.Mov.Imm(asm.R1, 16*i), asm.StoreMem(fp, slotPlace, asm.R1, quad))
		p.Here(next)
	}
	p.Add(asm.Ja.Label(otherwise))
	p.Here(found)
	p.Add(asm.LoadMem(asm.R1, asm.R0, 0, word), asm.StoreMem(fp, slotWorld, asm.R1, quad))
}

// record gets the record, and fills in when, where and who: the task in R9.
func (p *program) record(scratch int, kind int32) {
	p.Add(asm.StoreImm(fp, slotKey, 0, word))
	p.Lookup(scratch, slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Reg(rec, asm.R0))
	p.clear(kind)
	p.Add(asm.LoadMem(asm.R1, fp, slotWorld, quad), asm.StoreMem(rec, atWorld, asm.R1, word))
	p.number(asm.R9, atTID)
	p.Add(asm.LoadMem(asm.R4, asm.R9, int16(p.l.taskLeader), quad), asm.JEq.Imm(asm.R4, 0, out), asm.StoreMem(fp, slotA, asm.R4, quad))
	p.number(asm.R4, atPID)
	p.Add(asm.LoadMem(asm.R4, fp, slotA, quad))
	p.hostNumber(asm.R4, atHostPID)
}

// clear fills in when and what, and forgets the record before.
func (p *program) clear(kind int32) {
	p.Add(asm.FnKtimeGetNs.Call(), asm.StoreMem(rec, atTime, asm.R0, quad))
	p.Add(asm.StoreImm(rec, atKind, int64(kind), word), asm.StoreImm(rec, atStack, -1, word))
	for _, at := range []int16{atTask, atParent, atStart} {
		p.Add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(rec, at, asm.R5, quad))
	}
	for at := int16(atRet); at < atStack; at += 8 {
		p.Add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(rec, at, asm.R5, quad))
	}
	p.Add(asm.StoreImm(rec, atOther, 0, word))
}

// number writes what a task is called by itself: in a container, by the container.
func (p *program) number(task asm.Register, to int32) {
	p.Follow(asm.R4, slotUpid, task, p.l.taskPID, out)
	p.Add(asm.LoadMem(asm.R3, fp, slotLevel, quad), asm.LSh.Imm(asm.R3, 4), asm.Add.Reg(asm.R4, asm.R3))
	p.Read(rec, to, 4, asm.R4, p.l.pidNumbers)
}

// hostNumber writes what the agent calls it.
func (p *program) hostNumber(task asm.Register, to int32) {
	p.Follow(asm.R4, slotUpid, task, p.l.taskPID, out)
	p.Add(asm.LoadMem(asm.R3, fp, slotPlace, quad), asm.Add.Reg(asm.R4, asm.R3))
	p.Read(rec, to, 4, asm.R4, p.l.pidNumbers)
}

// emit hands size bytes of the record to the agent.
func (p *program) emit(size int32, flags int32) {
	done := p.Fresh("emitted")
	p.Add(asm.LoadMapPtr(asm.R1, p.m.ring.FD()), asm.Mov.Reg(asm.R2, rec), asm.Mov.Imm(asm.R3, size),
		asm.Mov.Imm(asm.R4, flags), asm.FnRingbufOutput.Call(), asm.JEq.Imm(asm.R0, 0, done))
	p.Add(asm.StoreImm(fp, slotKey, 0, word))
	p.Lookup(p.m.lost.FD(), slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, done), asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R0, asm.R1, quad, 0))
	p.Here(done)
}

// emitAll hands over the record with its stack, if it has one.
func (p *program) emitAll(level Level) {
	if level != Full {
		p.emit(shortSize, noWakeup)
		return
	}
	none, done := p.Fresh("stackless"), p.Fresh("told")
	p.Add(asm.LoadMem(asm.R1, rec, atStack, word), asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32), asm.JSLE.Imm(asm.R1, 0, none))
	p.emit(stackSize, noWakeup)
	p.Add(asm.Ja.Label(done))
	p.Here(none)
	p.emit(shortSize, noWakeup)
	p.Here(done)
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
func (p *program) end() asm.Instructions { return p.End(out) }
