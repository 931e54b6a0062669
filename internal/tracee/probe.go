//go:build linux

package tracee

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/procfs"
	"github.com/pilotexec/pilot/internal/sys"
	"golang.org/x/sys/unix"
)

// A ThreadProbe is what only the thread itself can tell about itself.
type ThreadProbe struct {
	AltStack [24]byte // stack_t
	ClearTID uint64   // address cleared and woken at the thread's end
	// DeathSignal is sent to the process when its parent ends, prctl(2).
	DeathSignal uint32
	fsBase      uint64 // the thread's TLS: tells a reused tid
	nr          uint64 // the call that it was in
	rip         uint64
}

// Probe asks every thread, one at a time, for what only it knows. The other
// threads run on. Threads that end meanwhile are passed over.
func (o *Origin) Probe() error {
	tids, err := procfs.Tasks(o.PID)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if tid == o.helper {
			continue
		}
		if err := o.hold(tid); err != nil {
			if errors.Is(err, ErrGone) {
				continue
			}
			return errors.Join(err, o.letGo(tid))
		}
		err := o.probeStopped(tid)
		if err := errors.Join(err, o.letGo(tid)); err != nil {
			return fmt.Errorf("probe tid %d: %w", tid, err)
		}
	}
	return nil
}

func (o *Origin) probeStopped(tid int) error {
	var regs sys.Regs
	if err := sys.GetRegs(tid, &regs); err != nil {
		return err
	}
	const prGetTIDAddress = 40 // include/uapi/linux/prctl.h
	data := o.Data()
	calls := []Call{
		Sys(unix.SYS_SIGALTSTACK, 0, uint64(data)),
		Sys(unix.SYS_PRCTL, prGetTIDAddress, uint64(data)+24),
		Sys(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, uint64(data)+32),
	}
	if _, err := o.inject(tid, o.arena+slotThread, calls); err != nil {
		return err
	}
	for _, c := range calls {
		if err := c.Err(); err != nil {
			return err
		}
	}
	var buf [36]byte
	if err := readMem(o.mem, data, buf[:]); err != nil {
		return err
	}
	p := ThreadProbe{fsBase: regs.Fs_base, nr: regs.Orig_rax, rip: regs.Rip}
	copy(p.AltStack[:], buf[:24])
	p.ClearTID = binary.LittleEndian.Uint64(buf[24:])
	p.DeathSignal = binary.LittleEndian.Uint32(buf[32:])
	o.probes[tid] = p
	return nil
}
