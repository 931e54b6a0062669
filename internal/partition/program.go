//go:build linux

package partition

import (
	"github.com/cilium/ebpf/asm"
	"github.com/pilotexec/pilot/internal/bpf"
)

// Offsets in a packet of the loopback device, which has an Ethernet header.
const (
	atEther = 12 // the type
	atIP    = 14
	atProto = atIP + 9 // IPv4
	atNext  = atIP + 6 // IPv6
	ip6Size = 40

	etherIP4, etherIP6 = 0x0800, 0x86dd
	protoTCP, protoUDP = 6, 17
	flagSyn, flagAck   = 0x02, 0x10
)

// What the program answers, include/uapi/linux/bpf.h.
const (
	passOn = -1 // TCX_NEXT
	drop   = 2  // TCX_DROP
)

// Slots on the stack.
const (
	slotBytes = -8
	slotKey   = -16
)

// cut drops packets from one side to the other. R6 is the packet, R7 where the
// header of TCP or UDP begins, R8 the ports: source, then destination.
func cut(p *Partition) asm.Instructions {
	const out, six, ports, known, decide = "out", "six", "ports", "known", "decide"
	fp := asm.RFP
	var c bpf.Code
	load := func(offset int32, n int32) { // to slotBytes
		c.Add(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, offset),
			asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, slotBytes), asm.Mov.Imm(asm.R4, n),
			asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, out))
	}
	loadAt := func(plus int32, n int32) { // behind R7
		c.Add(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.R7), asm.Add.Imm(asm.R2, plus),
			asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, slotBytes), asm.Mov.Imm(asm.R4, n),
			asm.FnSkbLoadBytes.Call(), asm.JNE.Imm(asm.R0, 0, out))
	}
	c.Add(asm.Mov.Reg(asm.R6, asm.R1))
	load(atEther, 2)
	c.Add(asm.LoadMem(asm.R1, fp, slotBytes, asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half), asm.JEq.Imm(asm.R1, etherIP6, six), asm.JNE.Imm(asm.R1, etherIP4, out))
	load(atProto, 1)
	c.Add(asm.LoadMem(asm.R9, fp, slotBytes, asm.Byte))
	load(atIP, 1)
	c.Add(asm.LoadMem(asm.R7, fp, slotBytes, asm.Byte), asm.And.Imm(asm.R7, 0x0f), asm.LSh.Imm(asm.R7, 2), asm.Add.Imm(asm.R7, atIP), asm.Ja.Label(ports))
	c.Here(six)
	load(atNext, 1)
	c.Add(asm.LoadMem(asm.R9, fp, slotBytes, asm.Byte), asm.Mov.Imm(asm.R7, atIP+ip6Size))
	c.Here(ports)
	loadAt(0, 4)
	c.Add(asm.LoadMem(asm.R8, fp, slotBytes, asm.Word), asm.HostTo(asm.BE, asm.R8, asm.Word))
	// Who begins a connection, or sends a datagram, is the current task. What is
	// sent again later may be in nobody's name; its port is known by then.
	c.Add(asm.JEq.Imm(asm.R9, protoUDP, known), asm.JNE.Imm(asm.R9, protoTCP, out))
	loadAt(13, 1)
	c.Add(asm.LoadMem(asm.R1, fp, slotBytes, asm.Byte), asm.And.Imm(asm.R1, flagSyn|flagAck), asm.JNE.Imm(asm.R1, flagSyn, decide))
	c.Here(known)
	c.Add(asm.FnGetCurrentPidTgid.Call(), asm.RSh.Imm(asm.R0, 32), asm.StoreMem(fp, slotKey, asm.R0, asm.Word))
	c.Lookup(p.tasks.FD(), slotKey)
	c.Add(asm.JEq.Imm(asm.R0, 0, decide), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.StoreMem(fp, slotBytes, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R8), asm.RSh.Imm(asm.R1, 16), asm.StoreMem(fp, slotKey, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, p.ports.FD()), asm.Mov.Reg(asm.R2, fp), asm.Add.Imm(asm.R2, slotKey),
		asm.Mov.Reg(asm.R3, fp), asm.Add.Imm(asm.R3, slotBytes), asm.Mov.Imm(asm.R4, 0), asm.FnMapUpdateElem.Call())
	c.Here(decide)
	c.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.RSh.Imm(asm.R1, 16), asm.StoreMem(fp, slotKey, asm.R1, asm.Word))
	c.Lookup(p.ports.FD(), slotKey)
	c.Add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
		asm.And.Imm(asm.R8, 0xffff), asm.StoreMem(fp, slotKey, asm.R8, asm.Word))
	c.Lookup(p.ports.FD(), slotKey)
	c.Add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.JEq.Reg(asm.R1, asm.R7, out),
		asm.Mov.Imm(asm.R0, drop), asm.Return())
	c.Here(out)
	c.Add(asm.Mov.Imm(asm.R0, passOn), asm.Return())
	return c.Instructions()
}
