//go:build linux

// Package collapse puts the memory of a process into huge pages, so that it can be
// cloned in a thirtieth of the time. What the process sees of its memory does not
// change, and neither does how much it has: only what consists of small pages
// through and through is collapsed, madvise(2) MADV_COLLAPSE.
package collapse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
)

// Size is that of a huge page, in bytes. On other machines than amd64 it may be
// another; then nothing is found.
const Size = 2 << 20

// While a page is collapsed, page faults there and new mappings of the process wait:
// mostly for the copy. The kernel lets go between one page and the next. But each
// call begins with a round of all processors (lru_add_drain_all in mm/khugepaged.c),
// which takes long on a busy machine, so that one page a call is too few.
const (
	// share is that of the time, one in so many.
	share = 10
	// atOnce is how many huge pages a call makes at the most.
	atOnce = 16
	// Cost is about how long one takes: half a millisecond, and ten times as long
	// in a virtual machine whose host has to find the memory.
	Cost = 5 * time.Millisecond
	// Wait is how long a new mapping may have to wait: for one copy, or the round.
	Wait = 100 * time.Millisecond
)

// Time is about how long n huge pages take.
func Time(n int) time.Duration { return time.Duration(n) * Cost * share }

// An Outcome says what was done.
type Outcome struct {
	Pages  int // huge pages, of process memory that was in small ones
	Failed int // that the kernel did not make, for want of memory that is in one piece, mostly
	// Worst is the longest call: new mappings of the process may have waited so
	// long, where the kernel has no lock for each mapping.
	Worst time.Duration
}

// Candidates finds where pid could have huge pages and has small ones.
func Candidates(pid int) (at []uint64, err error) {
	vmas, err := procfs.Smaps(pid)
	if err != nil {
		return nil, err
	}
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, err
	}
	defer pages.Close()
	for _, v := range vmas {
		if !suits(v) {
			continue
		}
		for start := (v.Start + Size - 1) &^ (Size - 1); start+Size <= v.End; start += Size {
			full, err := full(pages, start)
			if err != nil {
				return nil, err
			}
			// Where that is not known it costs little to try.
			if huge, err := sys.InHugePage(pages, start); full && (err != nil || !huge) {
				at = append(at, start)
			}
		}
	}
	return at, nil
}

// suits reports whether there may be small pages of the process's own in v. Who
// has forbidden huge pages there (MADV_NOHUGEPAGE) has a reason.
func suits(v procfs.VMA) bool {
	return v.Inode == 0 && !v.Shared && v.Write && !v.Has("nh") && !v.Has("io") && !v.Has("pf") && !v.Has("ht") &&
		v.Anonymous >= Size && v.AnonHugePages < v.Anonymous
}

// full reports whether all pages from start on are there and not of a file.
func full(pagemap *os.File, start uint64) (bool, error) {
	const each, small = 8, 4096
	const present, file = 1 << 63, 1 << 61 // Documentation/admin-guide/mm/pagemap.rst
	var buf [Size / small * each]byte
	if _, err := pagemap.ReadAt(buf[:], int64(start/small*each)); err != nil {
		return false, err
	}
	for i := 0; i < len(buf); i += each {
		if entry := binary.NativeEndian.Uint64(buf[i:]); entry&present == 0 || entry&file != 0 {
			return false, nil
		}
	}
	return true, nil
}

// ErrNotSupported means that this kernel cannot do it for another process: it came
// with Linux 6.1.
var ErrNotSupported = errors.New("the kernel cannot collapse pages of other processes")

// Do collapses what is at the addresses, one after the other, until ctx ends. Each
// is whole or not done at all, so that nothing is left if we die.
func Do(ctx context.Context, pid int, at []uint64) (o Outcome, err error) {
	pidfd, err := sys.PidfdOpen(pid)
	if err != nil {
		return o, err
	}
	defer pidfd.Close()
	for len(at) > 0 {
		n := neighbours(at)
		began := time.Now()
		done, err := sys.CollapseRange(pidfd, at[0], uint64(n*Size))
		took := time.Since(began)
		at = at[n:]
		switch {
		case err == nil:
			o.Pages += int(done / Size)
			o.Failed += n - int(done/Size)
		case errors.Is(err, syscall.EINVAL) && o.Pages == 0, errors.Is(err, syscall.ENOSYS):
			return o, fmt.Errorf("%w: %w", ErrNotSupported, err)
		case errors.Is(err, syscall.ESRCH):
			return o, err
		default:
			o.Failed += n
		}
		o.Worst = max(o.Worst, took)
		select {
		case <-ctx.Done():
			return o, nil
		case <-time.After(took * (share - 1)):
		}
	}
	return o, nil
}

// neighbours returns how many of the first addresses one call can take.
func neighbours(at []uint64) int {
	n := 1
	for n < min(len(at), atOnce) && at[n] == at[n-1]+Size {
		n++
	}
	return n
}
