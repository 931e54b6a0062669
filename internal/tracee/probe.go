//go:build linux

package tracee

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pilotexec/pilot/internal/fault"
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
		if err := fault.ThreadProbed.Hit(); err != nil {
			return err
		}
	}
	return nil
}

func askStack(data uint64) Call { return Sys(unix.SYS_SIGALTSTACK, 0, data) }

// askDeathSignal wants the signal that prctl(2) PR_SET_PDEATHSIG has set.
func askDeathSignal(data uint64) Call { return Sys(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, data+32) }

func askClearTID(data uint64) Call {
	const prGetTIDAddress = 40 // include/uapi/linux/prctl.h
	return Sys(unix.SYS_PRCTL, prGetTIDAddress, data+24)
}

func (o *Origin) probeStopped(tid int) error {
	var regs sys.Regs
	if err := sys.GetRegs(tid, &regs); err != nil {
		return err
	}
	data := o.Data()
	calls := []Call{askStack(uint64(data)), askClearTID(uint64(data)), askDeathSignal(uint64(data))}
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
