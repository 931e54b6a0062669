//go:build linux

package trace

import (
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Places in struct pt_regs of amd64, arch/x86/include/asm/ptrace.h.
const regNr = 120

var regArgs = [6]int16{112, 104, 96, 56, 72, 64}

const (
	familyIP4 = unix.AF_INET
	familyIP6 = unix.AF_INET6

	// Modes of open file descriptions, include/linux/fs.h.
	fmodeWrite   = 1 << 1
	fmodeCreated = 1 << 20
)

const (
	// window is for how long what goes over a connection is told as one.
	window = 100 * time.Millisecond
	// longWait is how long a wait for a lock must be to be told.
	longWait = 10 * time.Millisecond
)

// what loads what is known of the call whose number is in R2 to R8, and leaves
// when that is nothing.
func (p *program) what() {
	p.Add(asm.StoreMem(fp, slotKey, asm.R2, word))
	p.Lookup(p.m.calls.FD(), slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R8, asm.R0, 0, word), asm.JEq.Imm(asm.R8, 0, out))
}

// enter is run when a system call begins: it notes when, for those that are
// timed.
func enter(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R2, asm.R1, 8, quad))
	p.what()
	p.Add(asm.And.Imm(asm.R8, callTimed), asm.JEq.Imm(asm.R8, 0, out))
	p.Add(asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R9, asm.R0))
	p.world(asm.R9, out)
	p.Add(asm.FnGetCurrentPidTgid.Call(), asm.StoreMem(fp, slotA, asm.R0, quad))
	p.Add(asm.FnKtimeGetNs.Call(), asm.StoreMem(fp, slotB, asm.R0, quad))
	p.store(m.begun.FD(), slotA, slotB, 0)
	return p.end()
}

// store puts the value at one slot under the key at another.
func (p *program) store(m int, key, value int32, flags int32) {
	p.Add(asm.LoadMapPtr(asm.R1, m), asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, key),
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, value), asm.Mov.Imm(asm.R4, flags), asm.FnMapUpdateElem.Call())
}

func (p *program) remove(m int, key int32) {
	p.Add(asm.LoadMapPtr(asm.R1, m), asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, key), asm.FnMapDeleteElem.Call())
}

// exit is run when a system call returns.
func exit(l *layout, m *maps, level Level) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R2, asm.R1, 0, quad), asm.LoadMem(asm.R2, asm.R2, regNr, quad))
	p.what()
	p.Add(asm.LoadMem(asm.R1, ctx, 8, quad), asm.JEq.Imm(asm.R1, -int32(unix.EAGAIN), out)) // so many end
	p.Add(asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R9, asm.R0))
	p.world(asm.R9, out)
	p.record(m.scratch[0].FD(), recCall)
	p.Add(asm.LoadMem(asm.R1, ctx, 0, quad), asm.LoadMem(asm.R2, asm.R1, regNr, quad), asm.StoreMem(rec, atNr, asm.R2, word))
	for i, reg := range regArgs {
		p.Add(asm.LoadMem(asm.R2, asm.R1, reg, quad), asm.StoreMem(rec, int16(atArgs+8*i), asm.R2, quad))
	}
	p.Add(asm.LoadMem(asm.R1, ctx, 8, quad), asm.StoreMem(rec, atRet, asm.R1, quad))
	if level == Full {
		p.took()
	}
	p.failed()
	p.long()
	if level == Full {
		p.stack(callStack)
		p.task()
	}
	p.descriptor()
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callClass),
		asm.JEq.Imm(asm.R1, callSend, "bytes"), asm.JEq.Imm(asm.R1, callRecv, "bytes"), asm.JNE.Imm(asm.R1, callOpen, "paths"))
	p.opened()
	p.Here("paths")
	p.paths(level)
	p.Add(asm.Ja.Label(out))
	p.Here("bytes")
	p.bytes(level)
	return p.end()
}

// took computes how long the call took.
func (p *program) took() {
	untimed := p.Fresh("untimed")
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callTimed), asm.JEq.Imm(asm.R1, 0, untimed))
	p.Add(asm.FnGetCurrentPidTgid.Call(), asm.StoreMem(fp, slotA, asm.R0, quad))
	p.Lookup(p.m.begun.FD(), slotA)
	p.Add(asm.JEq.Imm(asm.R0, 0, untimed),
		asm.LoadMem(asm.R2, asm.R0, 0, quad), asm.LoadMem(asm.R1, rec, atTime, quad), asm.Sub.Reg(asm.R1, asm.R2),
		asm.StoreMem(rec, atTook, asm.R1, quad))
	p.remove(p.m.begun.FD(), slotA)
	p.Here(untimed)
}

// failed leaves when the call failed in a way that is not told.
func (p *program) failed() {
	fine := p.Fresh("fine")
	p.Add(asm.LoadMem(asm.R1, rec, atRet, quad), asm.JSGE.Imm(asm.R1, 0, fine),
		asm.Mov.Reg(asm.R2, asm.R8), asm.And.Imm(asm.R2, callFailed), asm.JEq.Imm(asm.R2, 0, out))
	p.Add(asm.Mov.Reg(asm.R2, asm.R8), asm.And.Imm(asm.R2, callLong), asm.JNE.Imm(asm.R2, 0, fine))
	p.Add(asm.JEq.Imm(asm.R1, -int32(unix.EINTR), out),
		asm.JSLE.Imm(asm.R1, -512, out)) // the kernel will make it again: ERESTARTSYS and its kin
	p.Here(fine)
}

// long leaves when the call took too little time for one that is told only then.
func (p *program) long() {
	any := p.Fresh("any")
	p.Add(asm.Mov.Reg(asm.R2, asm.R8), asm.And.Imm(asm.R2, callLong), asm.JEq.Imm(asm.R2, 0, any),
		asm.LoadMem(asm.R1, rec, atTook, quad), asm.JLT.Imm(asm.R1, int32(longWait), out))
	p.Here(any)
}

// stack notes the caller's stack for calls that have a bit.
func (p *program) stack(bit int32) {
	const userStack = 1 << 8 // BPF_F_USER_STACK
	none := p.Fresh("nostack")
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, bit), asm.JEq.Imm(asm.R1, 0, none))
	p.Add(asm.Mov.Reg(asm.R1, ctx), asm.Mov.Reg(asm.R2, rec), asm.Add.Imm(asm.R2, atPCs), asm.Mov.Imm(asm.R3, 8*maxFrames), asm.Mov.Imm(asm.R4, userStack),
		asm.FnGetStack.Call(), asm.StoreMem(rec, atStack, asm.R0, word))
	p.Here(none)
}

// task fills in the goroutine, where the process has such. Its struct g is what
// the last word below the thread's FS base leads to.
func (p *program) task() {
	none := p.Fresh("notask")
	p.Add(asm.LoadMem(asm.R1, rec, atHostPID, word), asm.StoreMem(fp, slotKey, asm.R1, word))
	p.Lookup(p.m.tasks.FD(), slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, none))
	slots := []int16{slotB, slotC, slotD}
	for i, slot := range slots {
		p.Add(asm.LoadMem(asm.R1, asm.R0, int16(4*i), word), asm.StoreMem(fp, slot, asm.R1, quad))
	}
	p.Read(fp, slotA, 8, asm.R9, p.l.taskBase)
	p.Add(asm.LoadMem(asm.R3, fp, slotA, quad), asm.Sub.Imm(asm.R3, 8))
	p.readUser(fp, slotA)
	for i, to := range []int32{atTask, atParent, atStart} {
		next := p.Fresh("field")
		p.Add(asm.LoadMem(asm.R4, fp, slots[i], quad), asm.JEq.Imm(asm.R4, 0, next),
			asm.LoadMem(asm.R3, fp, slotA, quad), asm.Add.Reg(asm.R3, asm.R4))
		p.readUser(rec, to)
		p.Here(next)
	}
	p.Here(none)
}

// readUser copies 8 bytes of the caller from address R3 to base+to.
func (p *program) readUser(base asm.Register, to int32) {
	p.Add(asm.Mov.Reg(asm.R1, base), asm.Add.Imm(asm.R1, to), asm.Mov.Imm(asm.R2, 8), asm.FnProbeReadUser.Call())
}

// descriptor fills in what the call's descriptor leads to. R9, the task, becomes
// the socket, if it is one.
func (p *program) descriptor() {
	l, none, have := p.l, p.Fresh("nofile"), p.Fresh("have")
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, fdMask), asm.JEq.Imm(asm.R1, 0, none))
	third, result := p.Fresh("third"), p.Fresh("result")
	p.Add(asm.JEq.Imm(asm.R1, fdThird, third), asm.JEq.Imm(asm.R1, fdResult, result),
		asm.LoadMem(asm.R2, rec, atArgs, quad), asm.Ja.Label(have))
	p.Here(third)
	p.Add(asm.LoadMem(asm.R2, rec, atArgs+16, quad), asm.Ja.Label(have))
	p.Here(result)
	p.Add(asm.LoadMem(asm.R2, rec, atRet, quad))
	p.Here(have)
	p.Add(asm.LSh.Imm(asm.R2, 32), asm.RSh.Imm(asm.R2, 32), asm.StoreMem(fp, slotA, asm.R2, quad))
	p.Follow(asm.R4, slotB, asm.R9, l.taskFiles, none)
	p.Follow(asm.R4, slotB, asm.R4, l.filesTable, none)
	p.Add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(fp, slotC, asm.R5, quad))
	p.Read(fp, slotC, 4, asm.R4, l.tableMost)
	p.Add(asm.LoadMem(asm.R1, fp, slotC, quad), asm.LoadMem(asm.R2, fp, slotA, quad), asm.JGE.Reg(asm.R2, asm.R1, none),
		asm.LoadMem(asm.R4, fp, slotB, quad))
	p.Follow(asm.R4, slotB, asm.R4, l.tableFDs, none)
	p.Add(asm.LoadMem(asm.R2, fp, slotA, quad), asm.LSh.Imm(asm.R2, 3), asm.Add.Reg(asm.R4, asm.R2))
	p.Follow(asm.R4, slotB, asm.R4, 0, none)
	p.Read(rec, atFMode, 4, asm.R4, l.fileMode)
	p.Add(asm.LoadMem(asm.R4, fp, slotB, quad))
	p.Follow(asm.R4, slotC, asm.R4, l.fileInode, none)
	p.Add(asm.StoreMem(rec, atInode, asm.R4, quad))
	p.Read(rec, atMode, 2, asm.R4, l.inodeMode)
	p.Add(asm.LoadMem(asm.R4, rec, atInode, quad))
	p.Read(rec, atOffset, 8, asm.R4, l.inodeIno)
	p.Add(asm.LoadMem(asm.R1, rec, atMode, word), asm.And.Imm(asm.R1, unix.S_IFMT), asm.JNE.Imm(asm.R1, unix.S_IFSOCK, none),
		asm.LoadMem(asm.R4, fp, slotB, quad))
	p.Follow(asm.R4, slotC, asm.R4, l.filePrivate, none)
	p.Follow(asm.R4, slotC, asm.R4, l.socketSk, none)
	p.Add(asm.Mov.Reg(asm.R9, asm.R4), asm.StoreMem(rec, atSk, asm.R9, quad))
	// The rest is known already of most connections that are used.
	p.Read(rec, atFamily, 2, asm.R9, l.skFamily)
	p.Read(rec, atProto, 2, asm.R9, l.skProtocol)
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callClass), asm.JEq.Imm(asm.R1, callSend, none), asm.JEq.Imm(asm.R1, callRecv, none))
	p.ends(asm.R9)
	p.Here(none)
}

// ends fills in the addresses of a socket.
func (p *program) ends(sk asm.Register) {
	l, six, done := p.l, p.Fresh("six"), p.Fresh("ends")
	p.Read(rec, atFamily, 2, sk, l.skFamily)
	p.Read(rec, atProto, 2, sk, l.skProtocol)
	p.Read(rec, atLport, 2, sk, l.skNum)
	p.Read(rec, atRport, 2, sk, l.skDport)
	p.Add(asm.LoadMem(asm.R1, rec, atFamily, asm.Half), asm.JEq.Imm(asm.R1, familyIP6, six), asm.JNE.Imm(asm.R1, familyIP4, done))
	p.Read(rec, atLocal, 4, sk, l.skRcv)
	p.Read(rec, atRemote, 4, sk, l.skDaddr)
	p.Add(asm.Ja.Label(done))
	p.Here(six)
	p.Read(rec, atLocal, 16, sk, l.skRcv6)
	p.Read(rec, atRemote, 16, sk, l.skDaddr6)
	p.Here(done)
}

// opened leaves unless the file may be written, or is new. What was counted of
// an earlier file at the same place in memory is told.
func (p *program) opened() {
	fresh := p.Fresh("fresh")
	p.Add(asm.LoadMem(asm.R1, rec, atFMode, word), asm.And.Imm(asm.R1, fmodeWrite|fmodeCreated), asm.JEq.Imm(asm.R1, 0, out))
	p.fileKey()
	p.Lookup(p.m.files.FD(), slotFile)
	p.Add(asm.JEq.Imm(asm.R0, 0, fresh),
		asm.LoadMem(asm.R1, asm.R0, 0, quad), asm.StoreMem(rec, atBytes, asm.R1, quad),
		asm.LoadMem(asm.R1, asm.R0, 8, quad), asm.StoreMem(rec, atCount, asm.R1, quad))
	p.remove(p.m.files.FD(), slotFile)
	p.Here(fresh)
}

// fileKey is by whom which file is written.
func (p *program) fileKey() {
	p.Add(asm.LoadMem(asm.R1, rec, atInode, quad), asm.StoreMem(fp, slotFile, asm.R1, quad),
		asm.LoadMem(asm.R1, rec, atPID, word), asm.StoreMem(fp, slotFile+8, asm.R1, word),
		asm.LoadMem(asm.R1, rec, atWorld, word), asm.StoreMem(fp, slotFile+12, asm.R1, word))
}

// paths reads the call's paths, or its socket address, and tells of it.
func (p *program) paths(level Level) {
	short, other := p.Fresh("short"), p.Fresh("nosockaddr")
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callTo), asm.JEq.Imm(asm.R1, 0, other),
		asm.LoadMem(asm.R3, rec, atArgs+8, quad),
		asm.Mov.Reg(asm.R1, rec), asm.Add.Imm(asm.R1, atText), asm.Mov.Imm(asm.R2, unix.SizeofSockaddrInet6), asm.FnProbeReadUser.Call())
	p.emit(longSize, noWakeup)
	p.Add(asm.Ja.Label(out))
	p.Here(other)
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, 0xf<<pathShift), asm.JEq.Imm(asm.R1, 0, short))
	p.Add(asm.StoreImm(rec, atText, 0, asm.Byte), asm.StoreImm(rec, atText+textSize, 0, asm.Byte))
	p.path(pathShift, atText)
	p.path(secondShift, atText+textSize)
	p.emit(longSize, noWakeup)
	p.Add(asm.Ja.Label(out))
	p.Here(short)
	p.emitAll(level)
}

// path reads one path of the caller.
func (p *program) path(shift, to int32) {
	done, read := p.Fresh("path"), p.Fresh("read")
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.RSh.Imm(asm.R1, shift), asm.And.Imm(asm.R1, 0xf), asm.JEq.Imm(asm.R1, 0, done))
	for i := range int32(4) {
		next := p.Fresh("arg")
		p.Add(asm.JNE.Imm(asm.R1, i+1, next), asm.LoadMem(asm.R3, rec, int16(atArgs+8*i), quad), asm.Ja.Label(read))
		p.Here(next)
	}
	p.Add(asm.Ja.Label(done))
	p.Here(read)
	p.Add(asm.Mov.Reg(asm.R1, rec), asm.Add.Imm(asm.R1, to), asm.Mov.Imm(asm.R2, textSize), asm.FnProbeReadUserStr.Call())
	p.Here(done)
}
