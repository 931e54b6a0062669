//go:build linux

package trace

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// What is kept of a connection's end: a value of the map of sockets. Of each
// direction: bytes so far, bytes told of, begin and end of what is merged now,
// how many calls that were, and whose: process and thread, 0 for several.
const (
	dirTotal = 0
	dirTold  = 8
	dirBegan = 16
	dirLast  = 24
	dirCount = 32
	dirWho   = 40
	dirSize  = 48

	sockOpened  = 2 * dirSize // u64, when connect was called
	sockPID     = 104         // u32
	sockTID     = 108
	sockWorld   = 112
	sockHostPID = 116
	sockEnds    = 128 // as a record has them from atFamily on
	endsSize    = 40
	sockSize    = sockEnds + endsSize
)

// bytes counts what a call has read or written. R9 is the socket, if it is one.
func (p *program) bytes(level Level) {
	p.Add(asm.LoadMem(asm.R1, rec, atMode, word), asm.And.Imm(asm.R1, unix.S_IFMT), asm.JEq.Imm(asm.R1, unix.S_IFREG, "file"),
		asm.JNE.Imm(asm.R1, unix.S_IFSOCK, out),
		asm.LoadMem(asm.R1, rec, atProto, asm.Half), asm.JNE.Imm(asm.R1, unix.IPPROTO_TCP, out),
		asm.LoadMem(asm.R1, rec, atFamily, asm.Half), asm.JEq.Imm(asm.R1, familyIP4, "stream"), asm.JNE.Imm(asm.R1, familyIP6, out))
	p.Here("stream")
	p.peeked()
	p.Add(asm.LoadMem(asm.R1, rec, atRet, quad), asm.JSGT.Imm(asm.R1, 0, "some"))
	// The end of a stream, or an error: told as it is.
	p.Add(asm.JSLT.Imm(asm.R1, 0, "plain"), asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callClass), asm.JNE.Imm(asm.R1, callRecv, out))
	p.Here("plain")
	p.ends(asm.R9)
	p.soFar(func() {
		sent := p.Fresh("sent")
		p.Add(asm.Mov.Reg(asm.R2, asm.R8), asm.And.Imm(asm.R2, callClass), asm.JNE.Imm(asm.R2, callRecv, sent),
			asm.LoadMem(asm.R1, asm.R0, dirSize+dirTotal, quad))
		p.Here(sent)
	})
	p.emit(shortSize, noWakeup)
	p.Add(asm.Ja.Label(out))
	p.Here("some")
	p.known()
	p.Add(asm.Mov.Reg(asm.R9, asm.R0))
	p.recall()
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callClass), asm.JNE.Imm(asm.R1, callRecv, "direction"),
		asm.Add.Imm(asm.R9, dirSize), asm.StoreImm(rec, atOther, 1, word))
	p.Here("direction")
	p.Add(asm.LoadMem(asm.R1, rec, atRet, quad), asm.StoreMem(rec, atBytes, asm.R1, quad),
		atomic(asm.FetchAdd, asm.R9, asm.R1, dirTotal), asm.StoreMem(rec, atOffset, asm.R1, quad),
		asm.StoreImm(rec, atKind, recStream, word), asm.Mov.Imm(asm.R5, 1), asm.StoreMem(rec, atCount, asm.R5, quad))
	if level == Full {
		p.emitAll(level)
		p.Add(asm.Ja.Label(out))
	} else {
		p.merge()
	}
	p.Here("file")
	p.written(level)
}

// peeked leaves when the call only looked at what is there.
func (p *program) peeked() {
	not, message := p.Fresh("taken"), p.Fresh("message")
	p.Add(asm.LoadMem(asm.R1, rec, atNr, word), asm.JEq.Imm(asm.R1, unix.SYS_RECVMSG, message), asm.JNE.Imm(asm.R1, unix.SYS_RECVFROM, not),
		asm.LoadMem(asm.R2, rec, atArgs+24, quad), asm.And.Imm(asm.R2, unix.MSG_PEEK), asm.JNE.Imm(asm.R2, 0, out), asm.Ja.Label(not))
	p.Here(message)
	p.Add(asm.LoadMem(asm.R2, rec, atArgs+16, quad), asm.And.Imm(asm.R2, unix.MSG_PEEK|unix.MSG_ERRQUEUE), asm.JNE.Imm(asm.R2, 0, out))
	p.Here(not)
}

// known finds the connection of the record, R0. One that is not known yet was
// there when the world was released, and R9 is its socket: bases says what went over it before.
func (p *program) known() {
	have, fresh := p.Fresh("known"), p.Fresh("nobase")
	p.Add(asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotA, asm.R1, quad))
	p.Lookup(p.m.socks.FD(), slotA)
	p.Add(asm.JNE.Imm(asm.R0, 0, have))
	p.ends(asm.R9)
	p.blank()
	p.Add(asm.LoadMem(asm.R4, rec, atInode, quad), asm.Mov.Imm(asm.R5, 0), asm.StoreMem(fp, slotB, asm.R5, quad))
	p.Read(fp, slotB, 8, asm.R4, p.l.inodeIno)
	p.Lookup(p.m.bases.FD(), slotB)
	p.Add(asm.JEq.Imm(asm.R0, 0, fresh))
	for dir := int16(0); dir < 2; dir++ {
		at := slotZero + dir*dirSize
		p.Add(asm.LoadMem(asm.R1, asm.R0, 8*dir, quad), asm.StoreMem(fp, at+dirTotal, asm.R1, quad), asm.StoreMem(fp, at+dirTold, asm.R1, quad))
	}
	p.Here(fresh)
	const noExist = 1 // BPF_NOEXIST
	p.store(p.m.socks.FD(), slotA, slotZero, noExist)
	p.Lookup(p.m.socks.FD(), slotA)
	p.Add(asm.JEq.Imm(asm.R0, 0, out))
	p.Here(have)
}

// soFar fills in how many bytes have been sent before the record. other may put
// what was received into R1 instead, which R0 leads to.
func (p *program) soFar(other func()) {
	unknown := p.Fresh("unknown")
	p.Add(asm.Mov.Imm(asm.R1, 0), asm.StoreMem(rec, atOffset, asm.R1, quad), asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotA, asm.R1, quad))
	p.Lookup(p.m.socks.FD(), slotA)
	p.Add(asm.JEq.Imm(asm.R0, 0, unknown), asm.LoadMem(asm.R1, asm.R0, dirTotal, quad))
	other()
	p.Add(asm.StoreMem(rec, atOffset, asm.R1, quad))
	p.Here(unknown)
}

// recall fills in the ends of the connection in R9: one that is over has lost
// its port.
func (p *program) recall() {
	for at := int16(0); at < endsSize; at += 8 {
		p.Add(asm.LoadMem(asm.R1, asm.R9, sockEnds+at, quad), asm.StoreMem(rec, atFamily+at, asm.R1, quad))
	}
}

// blank makes a new value of the map of sockets on the stack.
func (p *program) blank() {
	for at := int16(0); at < sockSize; at += 8 {
		p.Add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(fp, slotZero+at, asm.R5, quad))
	}
	p.Add(asm.LoadMem(asm.R1, rec, atWorld, word), asm.StoreMem(fp, slotZero+sockWorld, asm.R1, word))
	for at := int16(0); at < endsSize; at += 8 {
		p.Add(asm.LoadMem(asm.R1, rec, atFamily+at, quad), asm.StoreMem(fp, slotZero+sockEnds+at, asm.R1, quad))
	}
}

// who computes whose the record is, as a direction keeps it.
func (p *program) who(dst asm.Register) {
	p.Add(asm.LoadMem(dst, rec, atPID, word), asm.LSh.Imm(dst, 32), asm.LoadMem(asm.R3, rec, atTID, word), asm.Or.Reg(dst, asm.R3))
}

// merge adds the record to what is merged of the direction R9, or tells of that
// and begins anew.
//
// Another processor may be here with the same direction. What is told follows
// from the total alone, and only who moves the mark tells of it: bytes are told
// once, in order.
func (p *program) merge() {
	flush, begin, same := p.Fresh("flush"), p.Fresh("begin"), p.Fresh("same")
	p.Add(asm.LoadMem(asm.R2, asm.R9, dirBegan, quad), asm.JEq.Imm(asm.R2, 0, begin),
		asm.LoadMem(asm.R1, rec, atTime, quad), asm.Sub.Reg(asm.R1, asm.R2), asm.JGE.Imm(asm.R1, int32(window), flush),
		asm.LoadMem(asm.R4, asm.R9, dirWho, quad), asm.RSh.Imm(asm.R4, 32), asm.LoadMem(asm.R1, rec, atPID, word), asm.JNE.Reg(asm.R1, asm.R4, flush))
	p.Add(asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R9, asm.R1, quad, dirCount),
		asm.LoadMem(asm.R1, rec, atTime, quad), asm.StoreMem(asm.R9, dirLast, asm.R1, quad))
	p.who(asm.R4)
	p.Add(asm.LoadMem(asm.R1, asm.R9, dirWho, quad), asm.JEq.Reg(asm.R1, asm.R4, same),
		asm.RSh.Imm(asm.R4, 32), asm.LSh.Imm(asm.R4, 32), asm.StoreMem(asm.R9, dirWho, asm.R4, quad))
	p.Here(same)
	p.Add(asm.Ja.Label(out))

	p.Here(flush)
	p.who(asm.R1)
	p.Add(asm.StoreMem(fp, slotB, asm.R1, quad), asm.LoadMem(asm.R1, rec, atTime, quad), asm.StoreMem(fp, slotC, asm.R1, quad))
	p.Add(asm.LoadMem(asm.R2, rec, atOffset, quad))
	p.flush(begin)
	p.Add(asm.LoadMem(asm.R1, fp, slotC, quad), asm.StoreMem(rec, atTime, asm.R1, quad), asm.LoadMem(asm.R1, fp, slotB, quad),
		asm.StoreMem(rec, atTID, asm.R1, word), asm.RSh.Imm(asm.R1, 32), asm.StoreMem(rec, atPID, asm.R1, word))
	p.Here(begin)
	p.who(asm.R4)
	p.Add(asm.StoreMem(asm.R9, dirWho, asm.R4, quad),
		asm.LoadMem(asm.R1, rec, atTime, quad), asm.StoreMem(asm.R9, dirBegan, asm.R1, quad), asm.StoreMem(asm.R9, dirLast, asm.R1, quad),
		asm.Mov.Imm(asm.R1, 1), asm.StoreMem(asm.R9, dirCount, asm.R1, quad), asm.Ja.Label(out))
}

// flush tells of what is merged of direction R9, up to R2 bytes, and leaves the
// record with that.
func (p *program) flush(nothing string) {
	p.Add(asm.LoadMem(asm.R0, asm.R9, dirTold, quad), asm.Mov.Reg(asm.R3, asm.R2), asm.Sub.Reg(asm.R3, asm.R0), asm.JSLE.Imm(asm.R3, 0, nothing),
		asm.StoreMem(rec, atBytes, asm.R3, quad), asm.StoreMem(rec, atOffset, asm.R0, quad),
		asm.Mov.Reg(asm.R4, asm.R0), atomic(asm.CmpXchg, asm.R9, asm.R2, dirTold), asm.JNE.Reg(asm.R0, asm.R4, nothing))
	p.Add(asm.LoadMem(asm.R1, asm.R9, dirCount, quad), asm.StoreMem(rec, atCount, asm.R1, quad),
		asm.LoadMem(asm.R1, asm.R9, dirWho, quad), asm.StoreMem(rec, atTID, asm.R1, word), asm.RSh.Imm(asm.R1, 32), asm.StoreMem(rec, atPID, asm.R1, word),
		asm.LoadMem(asm.R1, asm.R9, dirLast, quad), asm.LoadMem(asm.R2, asm.R9, dirBegan, quad), asm.StoreMem(rec, atTime, asm.R1, quad),
		asm.Sub.Reg(asm.R1, asm.R2), asm.StoreMem(rec, atTook, asm.R1, quad), asm.StoreImm(rec, atKind, recStream, word))
	p.emit(shortSize, noWakeup)
}

// written counts what is written to a file, and tells of the first time.
func (p *program) written(level Level) {
	p.Add(asm.Mov.Reg(asm.R1, asm.R8), asm.And.Imm(asm.R1, callClass), asm.JNE.Imm(asm.R1, callSend, out),
		asm.LoadMem(asm.R1, rec, atRet, quad), asm.JSLT.Imm(asm.R1, 0, "plain2"), asm.JEq.Imm(asm.R1, 0, out))
	p.fileKey()
	p.Lookup(p.m.files.FD(), slotFile)
	p.Add(asm.JEq.Imm(asm.R0, 0, "first"),
		asm.LoadMem(asm.R1, rec, atRet, quad), asm.AddAtomic.Mem(asm.R0, asm.R1, quad, 0),
		asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R0, asm.R1, quad, 8), asm.Ja.Label(out))
	p.Here("first")
	p.Add(asm.LoadMem(asm.R1, rec, atRet, quad), asm.StoreMem(fp, slotB, asm.R1, quad), asm.Mov.Imm(asm.R5, 1), asm.StoreMem(fp, slotB+8, asm.R5, quad))
	p.store(p.m.files.FD(), slotFile, slotB, 0)
	p.Here("plain2")
	p.emitAll(level)
}

// States of connections, include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpSynRecv     = 3
	tcpFinWait1    = 4
	tcpClose       = 7
	tcpCloseWait   = 8
	tcpLastAck     = 9
)

// state is run when a connection's state changes: by a call of its owner, or by
// what came from its peer, and then on behalf of whoever the processor runs.
func state(l *layout, m *maps) asm.Instructions {
	p := &program{l: l, m: m}
	p.Add(asm.Mov.Reg(ctx, asm.R1), asm.LoadMem(asm.R8, asm.R1, 0, quad))
	p.Follow(asm.R4, slotA, asm.R8, l.skNet, out)
	p.Read(fp, slotInum, 4, asm.R4, l.netInum)
	p.Lookup(m.nets.FD(), slotInum)
	p.Add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R0, 0, word), asm.StoreMem(fp, slotWorld, asm.R1, quad))
	p.Add(asm.StoreMem(fp, slotD, asm.R8, quad), asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R9, asm.R0))

	// Who is at it now, for what only the owner does.
	for _, s := range []struct {
		old, new int32
		place    string
	}{{0, tcpSynSent, "mine"}, {0, tcpFinWait1, "mine"}, {tcpCloseWait, tcpLastAck, "mine"}, {tcpEstablished, tcpClose, "perhaps"}, {tcpCloseWait, tcpClose, "perhaps"}} {
		next := p.Fresh("other")
		p.Add(asm.LoadMem(asm.R1, ctx, 8, word), asm.LoadMem(asm.R2, ctx, 16, word))
		if s.old != 0 {
			p.Add(asm.JNE.Imm(asm.R1, s.old, next))
		}
		p.Add(asm.JEq.Imm(asm.R2, s.new, s.place))
		p.Here(next)
	}
	p.Add(asm.Ja.Label("anyone"))
	p.Here("perhaps") // it closes it with unread data, or its peer has
	p.Add(asm.Mov.Imm(asm.R5, 0), asm.StoreMem(fp, slotA, asm.R5, quad))
	p.Read(fp, slotA, 1, asm.R8, l.skShutdown)
	p.Add(asm.LoadMem(asm.R1, fp, slotA, quad), asm.And.Imm(asm.R1, 3), asm.JEq.Imm(asm.R1, 3, "mine"))
	p.Here("anyone")
	p.plainRecord(m.scratch[1].FD(), recState)
	p.Add(asm.Ja.Label("told"))
	p.Here("mine")
	p.world(asm.R9, "anyone")
	p.record(m.scratch[1].FD(), recState)
	p.Add(asm.Mov.Imm(asm.R5, 1), asm.StoreMem(rec, atArgs, asm.R5, quad))
	p.Here("told")
	p.Add(asm.LoadMem(asm.R8, fp, slotD, quad), asm.LoadMem(asm.R1, ctx, 8, word), asm.StoreMem(rec, atOther, asm.R1, word),
		asm.LoadMem(asm.R1, ctx, 16, word), asm.StoreMem(rec, atNr, asm.R1, word), asm.StoreMem(rec, atSk, asm.R8, quad))
	p.ends(asm.R8)
	p.transition()
	return p.end()
}

// plainRecord gets the record and fills in all but who.
func (p *program) plainRecord(scratch int, kind int32) {
	p.Add(asm.StoreImm(fp, slotKey, 0, word))
	p.Lookup(scratch, slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Reg(rec, asm.R0))
	p.clear(kind)
	p.Add(asm.StoreImm(rec, atPID, 0, word), asm.StoreImm(rec, atTID, 0, word), asm.StoreImm(rec, atHostPID, 0, word), asm.Mov.Imm(asm.R5, 0), asm.StoreMem(rec, atArgs, asm.R5, quad))
	p.Add(asm.LoadMem(asm.R1, fp, slotWorld, quad), asm.StoreMem(rec, atWorld, asm.R1, word))
}

// settle tells of all that is merged of the record's connection, and forgets
// when that began. The record is overwritten, and slot Key has the connection.
func (p *program) settle() {
	none := p.Fresh("settled")
	key := func() {
		p.Add(asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotKey, asm.R1, quad))
	}
	key()
	p.Lookup(p.m.socks.FD(), slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, none), asm.Mov.Reg(asm.R9, asm.R0))
	p.recall()
	for dir := range int32(2) {
		done := p.Fresh("flushed")
		p.Add(asm.StoreImm(rec, atOther, int64(dir), word), asm.LoadMem(asm.R1, asm.R9, dirBegan, quad), asm.JEq.Imm(asm.R1, 0, done),
			asm.LoadMem(asm.R2, asm.R9, dirTotal, quad))
		p.flush(done)
		p.Here(done)
		p.Add(asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.R9, dirBegan, asm.R1, quad), asm.Add.Imm(asm.R9, dirSize))
	}
	p.Here(none)
	key()
}

// transition acts on the states in the record. The socket is in slot D.
func (p *program) transition() {
	m := p.m
	p.Add(asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotKey, asm.R1, quad))
	p.Add(asm.LoadMem(asm.R2, rec, atNr, word), asm.LoadMem(asm.R1, rec, atOther, word),
		asm.JEq.Imm(asm.R2, tcpSynSent, "connecting"), asm.JNE.Imm(asm.R2, tcpEstablished, "not-new"),
		asm.JEq.Imm(asm.R1, tcpSynRecv, "accepted"), asm.JEq.Imm(asm.R1, tcpSynSent, "connected"), asm.Ja.Label(out))
	p.Here("not-new")
	p.Add(asm.JNE.Imm(asm.R2, tcpClose, "closing"), asm.JEq.Imm(asm.R1, tcpSynSent, "refused"))
	p.Here("closing")

	// The mark of whose close it is. A connection that nobody has used yet has
	// nothing to be flushed.
	p.Add(asm.LoadMem(asm.R1, rec, atArgs, quad), asm.JEq.Imm(asm.R1, 0, "unowned"))
	p.soFar(func() {})
	p.emit(shortSize, noWakeup)
	p.Here("unowned")
	p.Add(asm.LoadMem(asm.R1, rec, atNr, word), asm.JNE.Imm(asm.R1, tcpClose, out))
	p.settle()
	// Its owner may still read what came before: then it is kept, until it is
	// the one that was used least recently.
	p.Add(asm.LoadMem(asm.R8, fp, slotD, quad))
	p.Read(fp, slotA, 8, asm.R8, p.l.skSocket)
	p.Add(asm.LoadMem(asm.R1, fp, slotA, quad), asm.JNE.Imm(asm.R1, 0, out))
	p.Add(asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotKey, asm.R1, quad))
	p.remove(m.socks.FD(), slotKey)
	p.Add(asm.Ja.Label(out))

	p.Here("connecting")
	p.Add(asm.LoadMem(asm.R1, rec, atArgs, quad), asm.JEq.Imm(asm.R1, 0, out))
	p.blank()
	for _, f := range [][2]int16{{atPID, sockPID}, {atTID, sockTID}, {atHostPID, sockHostPID}} {
		p.Add(asm.LoadMem(asm.R1, rec, f[0], word), asm.StoreMem(fp, slotZero+f[1], asm.R1, word))
	}
	p.Add(asm.LoadMem(asm.R1, rec, atTime, quad), asm.StoreMem(fp, slotZero+sockOpened, asm.R1, quad))
	p.settle() // of one that was at the same place in memory
	p.store(m.socks.FD(), slotKey, slotZero, 0)
	p.Add(asm.Ja.Label(out))

	p.Here("accepted")
	p.blank()
	p.settle() // of one that was at the same place in memory
	p.store(m.socks.FD(), slotKey, slotZero, 0)
	p.Add(asm.Ja.Label(out))

	p.Here("refused")
	p.Add(asm.LoadMem(asm.R8, fp, slotD, quad), asm.Mov.Imm(asm.R5, 0), asm.StoreMem(fp, slotA, asm.R5, quad))
	p.Read(fp, slotA, 4, asm.R8, p.l.skErr)
	p.Add(asm.LoadMem(asm.R2, fp, slotA, quad), asm.Mov.Imm(asm.R1, 0), asm.Sub.Reg(asm.R1, asm.R2), asm.StoreMem(rec, atRet, asm.R1, quad))
	p.Here("connected")
	p.Lookup(m.socks.FD(), slotKey)
	p.Add(asm.JEq.Imm(asm.R0, 0, out))
	for _, f := range [][2]int16{{sockPID, atPID}, {sockTID, atTID}, {sockHostPID, atHostPID}} {
		p.Add(asm.LoadMem(asm.R1, asm.R0, f[0], word), asm.StoreMem(rec, f[1], asm.R1, word))
	}
	p.Add(asm.LoadMem(asm.R2, asm.R0, sockOpened, quad), asm.LoadMem(asm.R1, rec, atTime, quad), asm.Sub.Reg(asm.R1, asm.R2), asm.StoreMem(rec, atTook, asm.R1, quad))
	for at := int16(0); at < endsSize; at += 8 {
		p.Add(asm.LoadMem(asm.R1, rec, atFamily+at, quad), asm.StoreMem(asm.R0, sockEnds+at, asm.R1, quad))
	}
	p.emit(shortSize, noWakeup)
	p.Add(asm.LoadMem(asm.R1, rec, atNr, word), asm.JEq.Imm(asm.R1, tcpEstablished, out))
	p.Add(asm.LoadMem(asm.R1, rec, atSk, quad), asm.StoreMem(fp, slotKey, asm.R1, quad))
	p.remove(m.socks.FD(), slotKey)
}
