//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/fault"
	"github.com/pilotexec/pilot/internal/kobj"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// furnish gives a phantom its memory, descriptors and timers.
func (w *World) furnish(ph *phantom, fds []sys.FD) error {
	wanted := wantedFDs(ph.process.Index, w.snap.Objects, fds)
	err := w.tracer.Do(func() (err error) {
		at := 0
		if n := len(wanted); n > 0 {
			at = wanted[n-1].number + 1
		}
		if ph.post, err = newMailbox(ph.lead, ph.pidfd, at); err != nil {
			return err
		}
		return ph.post.deliver(wanted)
	})
	if err != nil {
		return fmt.Errorf("install descriptors: %w", err)
	}
	if err := fault.DescriptorsInstalled.Hit(); err != nil {
		return err
	}
	if err := w.mapShared(ph); err != nil {
		return err
	}
	if err := fault.MemoryMapped.Hit(); err != nil {
		return err
	}
	if err := w.ownProgram(ph); err != nil {
		return err
	}
	if err := fault.ProgramSet.Hit(); err != nil {
		return err
	}
	if err := w.fence(ph); err != nil {
		return err
	}
	return w.tracer.Do(func() error {
		if err := w.addInterests(ph); err != nil {
			return err
		}
		return ph.takeLocks(w.snap.Objects)
	})
}

// wantedFD is one descriptor that a phantom shall have.
type wantedFD struct {
	number int
	cloexe bool
	from   sys.FD
}

func wantedFDs(member int, all []*kobj.Description, fds []sys.FD) (out []wantedFD) {
	for i, d := range all {
		for _, h := range d.Holders {
			if h.Member == member {
				out = append(out, wantedFD{h.FD, h.CloseOnExec, fds[i]})
			}
		}
	}
	slices.SortFunc(out, func(a, b wantedFD) int { return a.number - b.number })
	return out
}

// mapShared replaces every mapping that fork has left shared with production,
// and puts back those that fork leaves out.
func (w *World) mapShared(ph *phantom) error {
	p := ph.process
	bytes := map[uint64]capture.Region{}
	for _, r := range p.Regions {
		bytes[r.VMA.Start] = r
	}
	for _, v := range p.Maps {
		if !v.Shared || !v.Has("mw") && !capture.Within(v.Path, p.Member.Data) {
			continue
		}
		fd, offset, err := w.backing(v, bytes)
		if err != nil {
			return fmt.Errorf("mapping %#x %s: %w", v.Start, v.Path, err)
		}
		err = w.tracer.Do(func() error {
			return ph.post.lend(fd, func(number uint64) error {
				return ph.lead.Do(tracee.Sys(unix.SYS_MMAP, v.Start, v.End-v.Start, prot(v),
					unix.MAP_SHARED|unix.MAP_FIXED, number, offset))
			})
		})
		_ = fd.Close()
		if err != nil {
			return fmt.Errorf("mapping %#x %s: %w", v.Start, v.Path, err)
		}
	}
	return w.tracer.Do(func() error {
		for _, r := range p.Regions {
			if err := ph.putBack(r); err != nil {
				return fmt.Errorf("mapping %#x %s: %w", r.VMA.Start, r.VMA.Path, err)
			}
		}
		return nil
	})
}

func prot(v procfs.VMA) (p uint64) {
	if v.Read {
		p |= unix.PROT_READ
	}
	if v.Write {
		p |= unix.PROT_WRITE
	}
	if v.Exec {
		p |= unix.PROT_EXEC
	}
	return p
}

// backing opens what a shared mapping is to show in the world: the copy of the
// file, or memory with the bytes of the pause.
func (w *World) backing(v procfs.VMA, bytes map[uint64]capture.Region) (fd sys.FD, offset uint64, err error) {
	if v.Deleted {
		// The bytes came with the descriptor.
		if fd, ok, err := w.objects.Backing(v.Dev, v.Inode); ok || err != nil {
			return fd, v.Offset, err
		}
	}
	if r, ok := bytes[v.Start]; ok {
		key := memoryKey{v.Dev, v.Inode}
		base, have := w.memory[key]
		if !have || v.Inode == 0 {
			n, err := unix.MemfdCreate("pilot-shared", unix.MFD_CLOEXEC)
			if err != nil {
				return -1, 0, os.NewSyscallError("memfd_create", err)
			}
			base = sys.FD(n)
			if w.memory == nil {
				w.memory = map[memoryKey]sys.FD{}
			}
			w.memory[key] = base
		}
		if _, err := unix.Pwrite(int(base), r.Data, int64(v.Offset)); err != nil {
			return -1, 0, os.NewSyscallError("pwrite", err)
		}
		n, err := unix.FcntlInt(uintptr(base), unix.F_DUPFD_CLOEXEC, 3)
		return sys.FD(n), v.Offset, os.NewSyscallError("fcntl", err)
	}
	flags := unix.O_RDONLY
	if v.Has("mw") {
		flags = unix.O_RDWR
	}
	err = w.inside.Do(func() error {
		n, err := unix.Open(v.Path, flags|unix.O_CLOEXEC, 0)
		fd = sys.FD(n)
		return os.NewSyscallError("open", err)
	})
	return fd, v.Offset, err
}

// putBack writes the bytes of private memory that fork has not copied.
func (ph *phantom) putBack(r capture.Region) error {
	if r.VMA.Shared {
		return nil
	}
	if r.VMA.Has("dc") {
		err := ph.lead.Do(tracee.Sys(unix.SYS_MMAP, r.VMA.Start, r.VMA.End-r.VMA.Start, prot(r.VMA),
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0))
		if err != nil {
			return err
		}
	}
	return ph.lead.Write(tracee.Addr(r.VMA.Start), r.Data)
}

// addInterests fills the phantom's epoll descriptors.
func (w *World) addInterests(ph *phantom) error {
	at, size := ph.lead.Data()
	var calls []tracee.Call
	var of []*kobj.Description
	var events []byte
	for _, d := range w.snap.Objects {
		for _, h := range d.Holders {
			if h.Member != ph.process.Index {
				continue
			}
			for _, e := range kobj.Interests(d) {
				// struct epoll_event is packed on amd64: 4 + 8 bytes.
				ev := binary.LittleEndian.AppendUint32(nil, e.Events)
				ev = binary.LittleEndian.AppendUint64(ev, e.Data)
				calls = append(calls, tracee.Sys(unix.SYS_EPOLL_CTL, uint64(h.FD), unix.EPOLL_CTL_ADD,
					uint64(e.TFD), uint64(at)+uint64(len(events))))
				of = append(of, d)
				events = append(events, ev...)
			}
			break // one holder adds for all
		}
	}
	if len(events) > size {
		return fmt.Errorf("%d epoll entries are too many", len(calls))
	}
	if err := ph.lead.Write(at, events); err != nil {
		return err
	}
	if _, err := ph.lead.Batch(calls); err != nil {
		return fmt.Errorf("fill epoll: %w", err)
	}
	for i, c := range calls {
		switch err := c.Err(); {
		case errors.Is(err, unix.EBADF), errors.Is(err, unix.EEXIST), errors.Is(err, unix.EPERM):
			// The description lives under another number than the one that
			// it was added by, which is closed or used again.
			w.gap(of[i], fmt.Sprintf("events of what was fd %d are lost: that descriptor was closed, its object was not", c.Args[2]))
		case err != nil:
			return fmt.Errorf("fill epoll: add fd %d: %w", c.Args[2], err)
		}
	}
	return nil
}

func (ph *phantom) takeLocks(all []*kobj.Description) error {
	at, _ := ph.lead.Data()
	for _, d := range all {
		for _, l := range d.Locks {
			if l.Kind != "POSIX" {
				continue
			}
			for _, h := range d.Holders {
				if h.Member != ph.process.Index {
					continue
				}
				if err := ph.lead.Write(at, flock(l)); err != nil {
					return err
				}
				if err := ph.lead.Do(tracee.Sys(unix.SYS_FCNTL, uint64(h.FD), unix.F_SETLK, uint64(at))); err != nil {
					return fmt.Errorf("lock fd %d: %w", h.FD, err)
				}
				break
			}
		}
	}
	return nil
}

// flock lays out a struct flock, fcntl_locking(2).
func flock(l procfs.Lock) []byte {
	f := kobj.Flock(l)
	le := binary.LittleEndian
	b := make([]byte, 32)
	le.PutUint16(b, uint16(f.Type))
	le.PutUint16(b[2:], uint16(f.Whence))
	le.PutUint64(b[8:], uint64(f.Start))
	le.PutUint64(b[16:], uint64(f.Len))
	return b
}
