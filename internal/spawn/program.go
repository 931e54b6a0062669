//go:build linux

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pilotexec/pilot/internal/capture"
	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"github.com/pilotexec/pilot/internal/tracee"
	"golang.org/x/sys/unix"
)

// ownProgram makes the world's file the program that the phantom executes.
//
// A forked process executes the very file of production, by production's mount,
// and /proc/self/exe leads there: root could change its mode, or take a lease on
// it. The kernel exchanges the link, prctl(2) PR_SET_MM_MAP, once nothing of the
// old file is mapped any more.
func (w *World) ownProgram(ph *phantom) error {
	exe, err := w.openProgram(ph)
	if err != nil {
		return fmt.Errorf("open its program in the world: %w", err)
	}
	defer exe.Close()
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/exe", ph.lead.PID), &st); err != nil {
		return os.NewSyscallError("stat", err)
	}
	stat, err := procfs.ReadStat(ph.lead.PID)
	if err != nil {
		return err
	}
	path := strings.TrimSuffix(ph.process.Exe, " (deleted)")
	mapped := slices.DeleteFunc(slices.Clone(ph.process.Maps), func(v procfs.VMA) bool {
		return v.Inode != st.Ino || v.Path != path
	})
	return w.tracer.Do(func() error {
		return ph.post.lend(exe, func(number uint64) error {
			for _, v := range mapped {
				if err := ph.remap(v, number); err != nil {
					return fmt.Errorf("mapping %#x of its program: %w", v.Start, err)
				}
			}
			return ph.setProgram(stat.Layout, number)
		})
	})
}

// openProgram opens the phantom's program as the world has it. Where the file
// was replaced or removed since the origin was started, the old one serves,
// by a mount that nothing can be changed through.
func (w *World) openProgram(ph *phantom) (fd sys.FD, err error) {
	link := fmt.Sprintf("/proc/%d/exe", ph.lead.PID)
	var was, is unix.Stat_t
	if err := unix.Stat(link, &was); err != nil {
		return -1, os.NewSyscallError("stat", err)
	}
	err = w.inside.Do(func() error {
		n, err := unix.Open(ph.process.Exe, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		fd = sys.FD(n)
		return err
	})
	if err == nil {
		// An overlay shows a file's own number, and device numbers of its own.
		err = unix.Fstat(int(fd), &is)
		if err == nil && is.Ino == was.Ino && is.Size == was.Size && is.Mtim == was.Mtim {
			return fd, nil
		}
		_ = fd.Close()
	}
	return sys.OpenFrozen(link)
}

// remap maps the same bytes from another descriptor of the same file.
func (ph *phantom) remap(v procfs.VMA, fd uint64) error {
	var kept []byte
	if v.Anonymous > 0 || v.Swap > 0 {
		kept = make([]byte, v.Size())
		if err := ph.lead.Read(tracee.Addr(v.Start), kept); err != nil {
			return err
		}
	}
	flags := uint64(unix.MAP_PRIVATE | unix.MAP_FIXED)
	if v.Shared {
		flags = unix.MAP_SHARED | unix.MAP_FIXED
	}
	if err := ph.lead.Do(tracee.Sys(unix.SYS_MMAP, v.Start, v.Size(), prot(v), flags, fd, v.Offset)); err != nil {
		return err
	}
	if kept == nil {
		return nil
	}
	return ph.lead.Write(tracee.Addr(v.Start), kept)
}

// setProgram exchanges the link, and leaves all else of the memory's layout.
func (ph *phantom) setProgram(l procfs.Layout, fd uint64) error {
	at, _ := ph.lead.Data()
	brk := []tracee.Call{tracee.Sys(unix.SYS_BRK, 0)}
	if _, err := ph.lead.Batch(brk); err != nil {
		return err
	}
	var m []byte // struct prctl_mm_map, include/uapi/linux/prctl.h
	for _, v := range []uint64{
		l.StartCode, l.EndCode, l.StartData, l.EndData, l.StartBrk, uint64(brk[0].Ret), l.StartStack,
		l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd, 0,
	} {
		m = binary.LittleEndian.AppendUint64(m, v)
	}
	m = binary.LittleEndian.AppendUint32(m, 0) // the auxiliary vector stays
	m = binary.LittleEndian.AppendUint32(m, uint32(fd))
	if err := ph.lead.Write(at, m); err != nil {
		return err
	}
	err := ph.lead.Do(tracee.Sys(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, uint64(at), uint64(len(m)), 0))
	if err != nil {
		return fmt.Errorf("set the program: %w", err)
	}
	return nil
}

// auditProgram makes sure that a phantom's program is not reached by
// production's mount.
func auditProgram(p *capture.Process, pid int) error {
	theirs, err := sys.MountID(fmt.Sprintf("/proc/%d/exe", p.Member.PID))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil // production's process has ended
	}
	if err != nil {
		return err
	}
	ours, err := sys.MountID(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return err
	}
	if ours == theirs {
		return errors.New("its program is reached by production's mount")
	}
	return nil
}
