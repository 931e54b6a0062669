//go:build linux

package trace

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Kinds of records.
const (
	recCall   = iota + 1 // a system call has returned
	recStream            // bytes went over a connection: what was merged
	recState             // a connection came or went
	recFork
	recExec
	recExit
	recSignal
)

// Places in a record, as the programs write it.
const (
	atTime    = 0   // u64, when the program ran
	atKind    = 8   // u32
	atNr      = 12  // u32: a system call; a signal; the new state of a connection
	atWorld   = 16  // u32
	atPID     = 20  // u32, as its own pid namespace has it
	atTID     = 24  // u32, likewise
	atHostPID = 28  // u32, one namespace further out: the agent's
	atArgs    = 32  // six u64
	atRet     = 80  // u64
	atInode   = 88  // u64, the address of the inode
	atSk      = 96  // u64, the address of the socket
	atMode    = 104 // u32, of the inode
	atFMode   = 108 // u32, of the open file description
	atFamily  = 112 // u16
	atProto   = 114 // u16
	atLport   = 116 // u16, the host's order
	atRport   = 118 // u16, the network's order
	atLocal   = 120 // 16 bytes
	atRemote  = 136 // 16 bytes
	atOffset  = 152 // u64; of a system call, the number of the inode
	atBytes   = 160 // u64
	atCount   = 168 // u64
	atTook    = 176 // u64
	atStack   = 184 // s32, how many bytes there are of the stack; negative for none
	atOther   = 188 // u32: a child; the old state; 1 for what was received
	atTask    = 192 // u64, the goroutine
	atParent  = 200 // u64, the one that started it
	atStart   = 208 // u64, where
	atPCs     = 216 // the call stack
	maxFrames = 32
	atText    = atPCs + 8*maxFrames
	textSize  = 256
)

// A record is as long as it needs to be.
const (
	shortSize = atPCs
	stackSize = atText
	longSize  = atText + 2*textSize
)

// A record is what a program tells.
type record struct {
	at                         uint64
	kind, nr, world            uint32
	pid, tid, hostPID          int
	args                       [6]uint64
	ret                        int64
	inode, sk                  uint64
	mode, fmode                uint32
	family, protocol           uint16
	local, remote              netip.AddrPort
	offset, bytes, count, took int64
	stack                      []byte
	other                      uint32
	task, parent, start        uint64
	text                       []byte // both paths, or the arguments
}

func decode(b []byte) (r record, ok bool) {
	if len(b) < shortSize {
		return r, false
	}
	u16, u32, u64 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	r = record{
		at: u64(b[atTime:]), kind: u32(b[atKind:]), nr: u32(b[atNr:]), world: u32(b[atWorld:]),
		pid: int(u32(b[atPID:])), tid: int(u32(b[atTID:])), hostPID: int(u32(b[atHostPID:])),
		ret: int64(u64(b[atRet:])), inode: u64(b[atInode:]), sk: u64(b[atSk:]),
		mode: u32(b[atMode:]), fmode: u32(b[atFMode:]), family: u16(b[atFamily:]), protocol: u16(b[atProto:]),
		offset: int64(u64(b[atOffset:])), bytes: int64(u64(b[atBytes:])), count: int64(u64(b[atCount:])),
		took: int64(u64(b[atTook:])), other: u32(b[atOther:]),
	}
	r.task, r.parent, r.start = u64(b[atTask:]), u64(b[atParent:]), u64(b[atStart:])
	if len(b) >= stackSize {
		r.text = b[stackSize:]
		if n := int32(u32(b[atStack:])); n > 0 {
			r.stack = b[atPCs : atPCs+min(int(n), 8*maxFrames)]
		}
	}
	for i := range r.args {
		r.args[i] = u64(b[atArgs+8*i:])
	}
	r.local, r.remote = addresses(b[atFamily : atRemote+16])
	return r, true
}

// addresses reads a family, two ports and two addresses.
func addresses(b []byte) (local, remote netip.AddrPort) {
	const ports, first, second = atLport - atFamily, atLocal - atFamily, atRemote - atFamily
	lport, rport := binary.LittleEndian.Uint16(b[ports:]), binary.BigEndian.Uint16(b[ports+2:])
	switch binary.LittleEndian.Uint16(b) {
	case familyIP4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[first:])), lport), netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[second:])), rport)
	case familyIP6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[first:])).Unmap(), lport), netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[second:])).Unmap(), rport)
	}
	return local, remote
}

// path is the i-th string of a record.
func (r *record) path(i int) string {
	at := i * textSize
	if len(r.text) < at+textSize {
		return ""
	}
	s, _, _ := strings.Cut(string(r.text[at:at+textSize]), "\x00")
	return s
}
