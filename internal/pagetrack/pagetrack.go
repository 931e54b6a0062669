//go:build linux

// Package pagetrack tells which pages of chosen files may have changed while
// they were in use, without reading the files.
//
// The kernel says when a page of its cache becomes dirty, and when one leaves
// the cache. A page that a reader has brought into the cache, and that has done
// neither since, still has the content that was read: a write(2) or a store to a
// mapping makes a clean page dirty, direct I/O, truncation, punching and
// shifting take it out (invalidate_inode_pages2_range, truncate_pagecache), and so
// does the end of the inode. What is not in the cache since it ran short of memory
// is told of as well. So the answer may be too many pages, never too few, if the
// reader follows the rules of [Tracker.Next].
//
// This holds for file systems that keep their content in the page cache and write
// it back by its dirty marks: see [Device] and [Usual].
package pagetrack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/cilium/ebpf"
	"github.com/pilotexec/pilot/internal/bpf"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// ErrFull means that there is no room for another file.
var ErrFull = errors.New("no room for another file")

const (
	pageSize = 4096
	// A chunk is a piece of the marks, a byte for each page. Files begin at chunks, so
	// that a large folio, which is aligned to its size, lies in one.
	chunkPages = 4096
	chunkBytes = chunkPages * pageSize // of a file
	// mostFolio is more than any folio has (PMD_ORDER on amd64 is 9).
	mostFolio = 512
	// mostFiles bounds the map of files.
	mostFiles = 16 << 10
	// mmapable is BPF_F_MMAPABLE, include/uapi/linux/bpf.h.
	mmapable = 1 << 10
)

// A Tracker listens to the kernel from Open until Close.
type Tracker struct {
	files  *ebpf.Map // inode -> where its marks begin
	age    *ebpf.Map // the age that marks get
	marks  *ebpf.Map // a byte for each page: the age in which it last may have changed
	memory memory    // of marks

	programs []*bpf.Program
	now      Age
	used     uint32 // chunks
	count    int    // files
}

// memory is what a map shares with us.
type memory interface {
	io.ReaderAt
	io.WriterAt
}

// An Age is the time between two calls of [Tracker.Next]. The first is 1.
type Age uint8

// unread is later than all ages.
const unread Age = 255

// A File is one that is tracked.
type File struct {
	t     *Tracker
	born  Age
	first int64 // of its marks
	pages int64
}

// key is what the programs look a file up by.
type key struct {
	ino uint64
	dev uint32
	_   uint32
}

// place is what they find.
type place struct{ chunk, pages uint32 }

// Open begins to listen. There is room for files that take so many bytes in all,
// see [Room].
// It needs CAP_BPF, CAP_PERFMON, and Linux 6.6 with type information.
func Open(bytes int64) (t *Tracker, err error) {
	t = &Tracker{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("track pages: %w", err), t.Close())
			t = nil
		}
	}()
	chunks := uint32((bytes + chunkBytes - 1) / chunkBytes)
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&t.files, ebpf.MapSpec{Name: "files", Type: ebpf.Hash, KeySize: 16, ValueSize: 8, MaxEntries: mostFiles}},
		{&t.age, ebpf.MapSpec{Name: "age", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
		{&t.marks, ebpf.MapSpec{Name: "marks", Type: ebpf.Array, KeySize: 4, ValueSize: chunkPages, MaxEntries: chunks, Flags: mmapable}},
	} {
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return t, fmt.Errorf("map %s: %w", m.spec.Name, err)
		}
	}
	if t.memory, err = t.marks.Memory(); err != nil {
		return t, err
	}
	l, err := readLayout()
	if err != nil {
		return t, err
	}
	for _, p := range points {
		prog, err := bpf.Load(p.name, mark(l, t, p.mapping))
		if err != nil {
			return t, err
		}
		t.programs = append(t.programs, prog)
	}
	if err := t.Next(); err != nil {
		return t, err
	}
	for _, p := range t.programs {
		if err := p.Attach(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Close ends it. It takes milliseconds: the kernel waits until no processor runs
// a program of ours.
func (t *Tracker) Close() error {
	errs := []error{bpf.CloseAll(t.programs)}
	for _, m := range []*ebpf.Map{t.files, t.age, t.marks} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	t.programs = nil
	return errors.Join(errs...)
}

// Add tracks a file of so many bytes, and what it grows by up to the next 16 MiB.
// [ErrFull] means that it cannot. It counts from the next age on.
func (t *Tracker) Add(dev, ino uint64, size int64) (*File, error) {
	chunks := uint32(chunksOf(size))
	if t.count >= mostFiles || t.used+chunks > t.marks.MaxEntries() {
		return nil, ErrFull
	}
	k := key{ino: ino, dev: unix.Major(dev)<<20 | unix.Minor(dev)} // MKDEV of include/linux/kdev_t.h
	p := place{t.used, chunks * chunkPages}
	if err := t.files.Put(k, p); err != nil {
		return nil, fmt.Errorf("track inode %d: %w", ino, err)
	}
	f := &File{t: t, born: t.now, first: int64(t.used) * chunkPages, pages: int64(p.pages)}
	t.used += chunks
	t.count++
	return f, nil
}

// Room is what a file of so many bytes takes of that of a tracker.
func Room(size int64) int64 { return chunksOf(size) * chunkBytes }

func chunksOf(size int64) int64 { return size/chunkBytes + 1 }

// Next begins a new age. Whoever then writes the dirty pages of a file to the disk,
// and then reads the file through the page cache, can ask later what changed since: it is what
// [File.Changed] tells of this age and younger ones.
//
// To write them is needed since the kernel tells only of clean pages that become
// dirty. When Next returns no program marks pages with an older age.
func (t *Tracker) Next() error {
	if t.now+1 == unread {
		return errors.New("track pages: too many ages")
	}
	t.now++
	if err := t.age.Put(uint32(0), uint32(t.now)); err != nil {
		return err
	}
	return sys.WaitRCU()
}

// Base returns the age, for whoever is about to read the file, or 0 when the file
// was not tracked yet when the age began.
func (f *File) Base() Age {
	if f == nil || f.born == f.t.now {
		return 0
	}
	return f.t.now
}

// Unread has [File.Changed] tell of the pages of [from, to) until the kernel tells
// of them: nobody has brought them into the cache, so direct I/O to them is told of
// by nothing. A page of which a part was read is not among them.
func (f *File) Unread(from, to int64) error {
	page, end := (from+pageSize-1)/pageSize, min(f.pages, to/pageSize)
	if page >= end {
		return nil
	}
	_, err := f.t.memory.WriteAt(bytes.Repeat([]byte{byte(unread)}, int(end-page)), f.first+page)
	return err
}

// UnreadFrom is Unread for all that lies behind the first size bytes.
func (f *File) UnreadFrom(size int64) error { return f.Unread(size, f.pages*pageSize) }

// Lost reports whether something happened that the programs did not see.
func (t *Tracker) Lost() bool {
	for _, p := range t.programs {
		if p.Missed() > 0 {
			return true
		}
	}
	return false
}

// Changed calls yield for each run of pages of [from, to) that may have changed
// in the age since or later. What lies beyond the tracked part has.
func (f *File) Changed(since Age, from, to int64) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		var buf [chunkPages]byte
		start := int64(-1) // of the run
		end := min(f.pages, (to+pageSize-1)/pageSize)
		page := from / pageSize
		for page < end {
			part := buf[:min(chunkPages, end-page)]
			if _, err := f.t.memory.ReadAt(part, f.first+page); err != nil {
				break // cannot be: it is memory. Then all may have
			}
			for i, age := range part {
				at := page + int64(i)
				switch changed := Age(age) >= since; {
				case changed && start < 0:
					start = at
				case !changed && start >= 0:
					if !yield(max(from, start*pageSize), at*pageSize) {
						return
					}
					start = -1
				}
			}
			page += int64(len(part))
		}
		if start < 0 {
			start = page
		}
		if start = max(from, start*pageSize); start < to {
			yield(start, to)
		}
	}
}
