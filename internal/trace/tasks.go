//go:build linux

package trace

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// fork is run when a task has made another.
func fork(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R9, asm.R1, 0, quad))
	p.world(asm.R9, out)
	p.record(m.scratch[2].FD(), recFork)
	p.Add(asm.LoadMem(asm.R8, ctx, 8, quad))
	p.number(asm.R8, atOther)
	p.Add(asm.LoadMem(asm.R4, asm.R8, int16(l.taskLeader), quad), asm.JEq.Imm(asm.R4, 0, out), asm.Mov.Reg(asm.R8, asm.R4))
	p.number(asm.R8, atNr) // the process that it is part of
	p.Add(asm.Mov.Reg(asm.R4, asm.R8))
	p.hostNumber(asm.R4, atArgs)
	p.emit(shortSize, noWakeup)
	return p.end()
}

// execed is run when a process has become another program.
func execed(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R9, asm.R1, 0, quad))
	p.world(asm.R9, out)
	p.record(m.scratch[4].FD(), recExec)
	p.Follow(asm.R4, slotA, asm.R9, l.taskMM, out)
	p.Read(fp, slotB, 8, asm.R4, l.mmArgsEnd)
	p.Add(asm.LoadMem(asm.R4, fp, slotA, quad))
	p.Read(fp, slotA, 8, asm.R4, l.mmArgs)
	p.Add(asm.LoadMem(asm.R3, fp, slotA, quad), asm.LoadMem(asm.R2, fp, slotB, quad), asm.Sub.Reg(asm.R2, asm.R3),
		asm.JLE.Imm(asm.R2, 2*textSize, "fits"), asm.Mov.Imm(asm.R2, 2*textSize))
	p.Here("fits")
	p.Add(asm.StoreMem(rec, atBytes, asm.R2, quad), asm.Mov.Reg(asm.R1, rec), asm.Add.Imm(asm.R1, atText), asm.FnProbeReadUser.Call())
	p.emit(longSize, forceWakeup) // it may be gone soon
	return p.end()
}

// gone is run when a task ends. Only of the last one of a process is told.
func gone(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R9, asm.R1, 0, quad))
	p.world(asm.R9, out)
	p.record(m.scratch[5].FD(), recExit)
	p.Follow(asm.R4, slotA, asm.R9, l.taskSignal, out)
	p.Read(fp, slotB, 4, asm.R4, l.signalLive)
	p.Add(asm.LoadMem(asm.R1, fp, slotB, word), asm.JNE.Imm(asm.R1, 0, out), asm.LoadMem(asm.R4, fp, slotA, quad))
	p.Read(rec, atRet, 4, asm.R4, l.signalCode)
	p.Add(asm.LoadMem(asm.R1, rec, atRet, quad), asm.JNE.Imm(asm.R1, 0, "grouped"))
	p.Read(rec, atRet, 4, asm.R9, l.taskExit)
	p.Here("grouped")
	p.emit(shortSize, noWakeup)
	return p.end()
}

// signal is run when a signal reaches a task.
func signal(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R8, asm.R1, 0, word),
		// Go's scheduler sends it to its own threads all the time.
		asm.JEq.Imm(asm.R8, int32(unix.SIGURG), out))
	p.Add(asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R9, asm.R0))
	p.world(asm.R9, out)
	p.record(m.scratch[3].FD(), recSignal)
	p.Add(asm.StoreMem(rec, atNr, asm.R8, word))
	p.Follow(asm.R4, slotA, asm.R9, l.taskSignal, out)
	p.Read(rec, atRet, 4, asm.R4, l.signalCode)
	p.emit(shortSize, noWakeup)
	return p.end()
}
