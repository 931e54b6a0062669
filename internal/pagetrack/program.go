//go:build linux

package pagetrack

import (
	"github.com/cilium/ebpf/asm"
	"github.com/pilotexec/pilot/internal/bpf"
)

// points are where the kernel tells of a page: folio_account_dirtied of
// mm/page-writeback.c, and __filemap_remove_folio and delete_from_page_cache_batch
// of mm/filemap.c. The first argument is the folio; the mapping is the second, or
// the folio's.
var points = []struct {
	name    string
	mapping bool // is the second argument
}{
	{"writeback_dirty_folio", true},
	{"mm_filemap_delete_from_page_cache", false},
}

// A layout says where the running kernel keeps what the programs read.
type layout struct {
	flags, more, index, mapping int16 // of a folio
	host, ino, sb, dev          int16
	large                       int32 // the flag of a folio of several pages
}

func readLayout() (l layout, err error) {
	kernel, err := bpf.ReadLayout()
	if err != nil {
		return l, err
	}
	for _, f := range []struct {
		to     *int16
		name   string
		member string
	}{
		{&l.flags, "folio", "flags"},
		{&l.more, "folio", "_flags_1"}, // its lowest byte is the order, folio_large_order
		{&l.index, "folio", "index"},
		{&l.mapping, "folio", "mapping"},
		{&l.host, "address_space", "host"},
		{&l.ino, "inode", "i_ino"},
		{&l.sb, "inode", "i_sb"},
		{&l.dev, "super_block", "s_dev"},
	} {
		at, err := kernel.Offset(f.name, f.member)
		if err != nil {
			return l, err
		}
		*f.to = int16(at)
	}
	large, err := kernel.Constant("pageflags", "PG_head")
	l.large = int32(large)
	return l, err
}

// Slots on the stack.
const (
	slotKey   = -16 // of the map of files
	slotIndex = -24 // key of an array
	slotSpan  = -32 // pages of the folio
	slotAge   = -40
)

// mark is a program that gives the marks of a folio the age. R6 is the folio, R7
// the page in its file, R8 the pages that the file has and then its chunk.
func mark(l layout, t *Tracker, mapping bool) asm.Instructions {
	const out, single = "out", "single"
	fp, quad := asm.RFP, asm.DWord
	var c bpf.Code
	c.Add(asm.Mov.Reg(asm.R9, asm.R1), asm.LoadMem(asm.R6, asm.R9, 0, quad))
	if mapping {
		c.Add(asm.LoadMem(asm.R7, asm.R9, 8, quad), asm.JEq.Imm(asm.R7, 0, out))
	} else {
		c.Add(asm.LoadMem(asm.R7, asm.R6, l.mapping, quad), asm.JEq.Imm(asm.R7, 0, out))
	}
	// Plain loads, which the kernel lets fail: they take a tenth of bpf_probe_read.
	c.Add(
		asm.LoadMem(asm.R7, asm.R7, l.host, quad), asm.JEq.Imm(asm.R7, 0, out),
		asm.LoadMem(asm.R1, asm.R7, l.ino, quad), asm.StoreMem(fp, slotKey, asm.R1, quad),
		asm.LoadMem(asm.R7, asm.R7, l.sb, quad), asm.JEq.Imm(asm.R7, 0, out),
		asm.LoadMem(asm.R1, asm.R7, l.dev, asm.Word), asm.StoreMem(fp, slotKey+8, asm.R1, quad))
	c.Lookup(t.files.FD(), slotKey)
	c.Add(asm.JEq.Imm(asm.R0, 0, out), // not ours, like nearly all
		asm.LoadMem(asm.R9, asm.R0, 0, asm.Word), asm.LoadMem(asm.R8, asm.R0, 4, asm.Word))

	c.Add(asm.LoadMem(asm.R7, asm.R6, l.index, quad), asm.JGE.Reg(asm.R7, asm.R8, out))
	c.Add(asm.Mov.Imm(asm.R1, 1), asm.StoreMem(fp, slotSpan, asm.R1, quad))
	c.Add(asm.LoadMem(asm.R1, asm.R6, l.flags, quad), asm.RSh.Imm(asm.R1, l.large), asm.And.Imm(asm.R1, 1), asm.JEq.Imm(asm.R1, 0, single))
	c.Add(asm.LoadMem(asm.R2, asm.R6, l.more, quad), asm.And.Imm(asm.R2, 0xff),
		asm.Mov.Imm(asm.R1, 1), asm.LSh.Reg(asm.R1, asm.R2), asm.StoreMem(fp, slotSpan, asm.R1, quad))
	c.Here(single)

	c.Add(asm.StoreImm(fp, slotIndex, 0, asm.Word))
	c.Lookup(t.age.FD(), slotIndex)
	c.Add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.StoreMem(fp, slotAge, asm.R1, quad))

	// The chunk, and the place in it.
	c.Add(asm.Mov.Reg(asm.R1, asm.R7), asm.RSh.Imm(asm.R1, 12), asm.Add.Reg(asm.R1, asm.R9), asm.StoreMem(fp, slotIndex, asm.R1, asm.Word))
	c.Lookup(t.marks.FD(), slotIndex)
	c.Add(asm.JEq.Imm(asm.R0, 0, out),
		asm.LoadMem(asm.R3, fp, slotAge, quad), asm.LoadMem(asm.R4, fp, slotSpan, quad),
		asm.Mov.Imm(asm.R5, 0))
	const next = "next"
	c.Here(next)
	c.Add(asm.JGE.Reg(asm.R5, asm.R4, out), asm.JGE.Imm(asm.R5, mostFolio, out),
		asm.Mov.Reg(asm.R1, asm.R7), asm.Add.Reg(asm.R1, asm.R5), asm.And.Imm(asm.R1, chunkPages-1),
		asm.Mov.Reg(asm.R2, asm.R0), asm.Add.Reg(asm.R2, asm.R1), asm.StoreMem(asm.R2, 0, asm.R3, asm.Byte),
		asm.Add.Imm(asm.R5, 1), asm.Ja.Label(next))
	return c.End(out)
}
